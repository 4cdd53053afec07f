"""What a packet and a call cost: `make bench`."""
