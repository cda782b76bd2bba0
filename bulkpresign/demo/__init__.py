"""The embedded S3 server, and the tour that runs everything on it."""
