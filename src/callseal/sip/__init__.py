"""SIP, SDP and SIPREC: bytes in, events out."""
