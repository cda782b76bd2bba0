"""Files below a folder: paths that are refused, temporary files, renames."""
