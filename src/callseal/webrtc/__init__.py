"""Rules of the private call: handshake PLH/1, trust in a manifest, what an SDP may hold, call states."""
