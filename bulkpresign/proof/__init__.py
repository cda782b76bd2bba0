"""Compares local files with the rows of a manifest, and hashes local files."""
