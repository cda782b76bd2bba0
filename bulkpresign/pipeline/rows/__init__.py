"""The rows that `sign` writes: their rules, HEAD requests, checksums of local files, multipart uploads."""
