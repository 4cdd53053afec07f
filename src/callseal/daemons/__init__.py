"""Who is started, and with what: the only wiring."""
