"""What customers see: the page of a private call, and the socket that connects it."""
