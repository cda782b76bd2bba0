"""Copies: bytes from a GET link to a PUT link, or to a multipart upload, with nothing on disk."""
