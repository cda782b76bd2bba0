"""Files held against what a manifest says of them, long after they came."""
