"""Links and upload forms to files and back, in our own columns."""
