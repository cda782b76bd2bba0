"""Real S3 servers, each started in a folder of its own and gone afterwards.

One module a kind, each with `start()`: a context manager that gives an `S3Server` which can store an object.
"""
