"""The straight lines: one file for each arrow of the threat model."""
