"""What became of every object: counts, progress, names of paths that are taken."""
