"""Sockets for voice and signalling, around sip and rtp."""
