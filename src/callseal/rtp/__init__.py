"""Batches of SRTP packets in, authenticated frames out."""
