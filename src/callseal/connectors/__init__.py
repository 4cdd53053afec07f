"""One file for each foreign system."""
