"""Rows, objects, spools and events on disk; knows nothing of their meaning."""
