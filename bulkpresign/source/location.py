"""`s3://bucket/prefix/`, `s3://bucket/key` and `s3://bucket/*.csv`, as the command line writes them."""

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.model import bucket_problem, key_problem
from bulkpresign.source.pattern import Pattern, is_pattern

SCHEME = "s3://"


class Location(msgspec.Struct, frozen=True):
    """A place in a bucket: one key, everything under a prefix (empty, or ending in `/`), or what a pattern matches."""

    bucket: str
    key: str
    pattern: Pattern | None = None

    @property
    def is_prefix(self) -> bool:
        """True where the place is a prefix."""
        return self.pattern is None and (not self.key or self.key.endswith("/"))

    @property
    def uri(self) -> str:
        """The place's name for messages."""
        return f"{SCHEME}{self.bucket}/{self.key}"

    @classmethod
    def parse(cls, uri: str, *, literal: bool = True) -> "Location":
        """Raises ParameterError for what is no `s3://bucket[/key]`, and for a key that S3 would not take.

        Unless it is `literal`, a key may be a pattern.
        """
        if not uri.startswith(SCHEME):
            raise ParameterError(f"{uri!r} is no s3://bucket/prefix/")
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")
        problem = bucket_problem(bucket) or (key_problem(key) if key else None)
        if problem:
            raise ParameterError(f"{uri[:80]!r}: {problem}")
        return cls(bucket, key, None if literal or not is_pattern(key) else Pattern(key))
