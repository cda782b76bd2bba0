"""`s3://bucket/prefix/` and `s3://bucket/key`, as the command line writes them."""

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.model import bucket_problem, key_problem

SCHEME = "s3://"


class Location(msgspec.Struct, frozen=True):
    """A place in a bucket: one key, or everything under a prefix (empty, or ending in `/`)."""

    bucket: str
    key: str

    @property
    def is_prefix(self) -> bool:
        """True where the place is a prefix."""
        return not self.key or self.key.endswith("/")

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """Raises ParameterError for what is no `s3://bucket[/key]`, and for a key that S3 would not take."""
        if not uri.startswith(SCHEME):
            raise ParameterError(f"{uri!r} is no s3://bucket/prefix/")
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        problem = bucket_problem(bucket) or (key_problem(key) if key else None)
        if problem:
            raise ParameterError(f"{uri[:80]!r}: {problem}")
        return cls(bucket, key)
