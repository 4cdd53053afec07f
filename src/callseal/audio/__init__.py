"""Codecs as tables, Matroska clusters."""
