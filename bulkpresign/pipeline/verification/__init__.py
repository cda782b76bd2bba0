"""What the forms of `verify` share: the sides of a comparison, reading for digests, counts and lists of differences."""
