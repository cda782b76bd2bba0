"""Shared by the forms of `verify`: sides of a comparison, reading for digests, counts and lists of differences."""
