"""Files below a folder: refused paths, temporary files, renames."""
