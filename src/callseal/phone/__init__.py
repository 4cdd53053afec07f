"""The test phone: a SIPREC client that protects with pylibsrtp, so that it checks our own rtp."""
