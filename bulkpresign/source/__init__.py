"""Where objects come from: tables, listings of a bucket, folders."""
