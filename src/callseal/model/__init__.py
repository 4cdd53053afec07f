"""The nouns that rooms share."""
