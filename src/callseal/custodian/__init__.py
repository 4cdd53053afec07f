"""Keystore, openings, destruction, log writer; imported by its own daemon only."""
