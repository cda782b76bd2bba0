"""The sources of objects: locations in a bucket, key patterns, local folders."""
