"""Proof in, principal out."""
