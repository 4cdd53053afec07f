"""Callseal: private call recording, sealed as it is recorded."""
