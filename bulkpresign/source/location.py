"""Parses `s3://bucket/prefix/`, `s3://bucket/key` and `s3://bucket/*.csv`."""

import posixpath
import re

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.model import bucket_problem, key_problem
from bulkpresign.source.pattern import Pattern, is_pattern

SCHEME = "s3://"
#: The ARN of an access point, whose name may follow a `/`, and the key after it.
#: Source: docs "Access points ARNs", "S3 on Outposts".
_ACCESS_POINT = re.compile(r"(arn:[^/]*(?:[:/]outpost[:/][^/:]+)?[:/]accesspoint[:/][^/:]+)(?:/(.*))?\Z", re.DOTALL)


class Location(msgspec.Struct, frozen=True):
    """A key, a prefix (empty, or ending in `/`), or a pattern in a bucket."""

    bucket: str
    key: str
    pattern: Pattern | None = None

    @property
    def is_prefix(self) -> bool:
        """True for a prefix."""
        return self.pattern is None and (not self.key or self.key.endswith("/"))

    @property
    def base(self) -> str:
        """The part of the keys that the paths of objects leave out, up to a `/`: all of a prefix, none of a key."""
        if self.pattern is not None:
            return self.pattern.base
        return self.key if self.is_prefix else ""

    @property
    def uri(self) -> str:
        """The location as `s3://bucket/key`, for messages."""
        return f"{SCHEME}{self.bucket}/{self.key}"

    @classmethod
    def parse(cls, uri: str, *, literal: bool = True) -> "Location":
        """Parses `s3://bucket[/key]`. Unless `literal` is set, a key may be a pattern.

        Raises ParameterError for another text, and for a bucket or key that S3 does not allow.
        """
        if not uri.startswith(SCHEME):
            raise ParameterError(f"{uri!r} is not of the form s3://bucket/prefix/")
        bucket, key = _bucket_and_key(uri.removeprefix(SCHEME))
        problem = bucket_problem(bucket) or (key_problem(key) if key else None)
        if problem:
            raise ParameterError(f"{uri[:80]!r}: {problem}")
        return cls(bucket, key, None if literal or not is_pattern(key) else Pattern(key))


def _bucket_and_key(address: str) -> tuple[str, str]:
    if point := _ACCESS_POINT.match(address):
        return point[1], point[2] or ""
    bucket, _, key = address.partition("/")
    return bucket, key


def version_path(path: str, version_id: str | None) -> str:
    """The path of a version: with its id before the extension, so that the versions of an object do not collide."""
    root, extension = posixpath.splitext(path)
    return f"{root}.{version_id}{extension}" if version_id else path
