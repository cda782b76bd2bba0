"""Objects become links: SigV4 in batches, form uploads, expiry, and `Presigner`, which holds the credentials."""
