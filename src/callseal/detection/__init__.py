"""Events in, alerts out; one rule a file."""
