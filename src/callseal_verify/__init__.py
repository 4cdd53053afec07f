"""Reads the log, recordings and certificates with the standard library and cryptography alone; shares no code with callseal."""
