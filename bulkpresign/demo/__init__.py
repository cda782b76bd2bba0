"""The embedded S3 server, and the tour that runs on it."""
