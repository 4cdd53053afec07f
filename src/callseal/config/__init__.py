"""Settings: read once, frozen, handed down in pieces."""
