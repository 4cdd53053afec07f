"""What is due, what is held, what the certificate says."""
