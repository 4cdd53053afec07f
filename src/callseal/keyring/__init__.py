"""The custodian's client."""
