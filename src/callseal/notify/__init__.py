"""Word to people: mail and the like."""
