"""What flows through the house: objects, links, outcomes.

All of them are msgspec structs: as cheap to make as tuples, compared by value, and decoded from JSON with errors that
name the field. `gc=False` keeps millions of them out of the garbage collector's rounds; none can be part of a cycle.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

Method = Literal["GET", "PUT", "HEAD", "DELETE"]
#: The methods that batches sign. POST opens a multipart upload.
BatchMethod = Method | Literal["POST"]
Status = Literal["done", "skipped", "failed", "expired"]

#: The lease of a link ends early by this margin, or by a tenth of its lifetime where that is less.
LEASE_MARGIN = timedelta(seconds=30)

#: The name of a header: a token of RFC 9110, 5.6.2.
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_USER = re.compile(r"(?<=://)[^/#]*@")
_LIFETIME = re.compile(r"[?&]X-Amz-Expires=(\d{1,9})(?:&|$)")

#: The longest key that S3 takes, in bytes of UTF-8.
MAX_KEY_BYTES = 1024

_MAX_CHARACTER_BYTES = 4  # of UTF-8


class ObjectRef(msgspec.Struct, frozen=True, gc=False):
    """One object in a bucket, and what is known of it.

    `size` in bytes; `etag` without quotes; `checksum` as `algorithm:base64`; `path` is the file's place below a folder,
    with `/` between segments (None: the key); `extra` holds the columns that a manifest carries through.
    """

    bucket: str
    key: str
    version_id: str | None = None
    size: int | None = None
    etag: str | None = None
    checksum: str | None = None
    content_type: str | None = None
    path: str | None = None
    extra: dict[str, Any] | None = None

    @property
    def file_path(self) -> str:
        """Where the object lies below a folder."""
        return self.key if self.path is None else self.path

    @property
    def uri(self) -> str:
        """The object's name for messages: `s3://bucket/key`, or its path where there is no key."""
        return f"s3://{self.bucket}/{self.key}" if self.key else f"{self.path or ''}"


class Link(msgspec.Struct, frozen=True, gc=False):
    """One permitted request and how long it may be made: a lease.

    Send exactly `method`, `url` and `headers` (signed headers must have the very same values). `headers` may be shared
    between the links of a batch. `expires_at` is an aware UTC datetime, None where unknown.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    expires_at: datetime | None = None
    object: ObjectRef = ObjectRef("", "")

    def __repr__(self) -> str:
        return f"Link({self.method} {without_query(self.url)}?..., expires_at={self.expires_at})"

    def expires_by(self, now: datetime) -> bool:
        """True when the lease is over, which is a margin before the server would say so.

        The margin is `LEASE_MARGIN`, or a tenth of the lifetime that the url tells where that is less.
        """
        if self.expires_at is None or now + LEASE_MARGIN < self.expires_at:  # `expires_at` may be of the year 1
            return False
        lifetime = _LIFETIME.search(self.url)
        margin = min(LEASE_MARGIN, timedelta(seconds=int(lifetime[1])) / 10) if lifetime else LEASE_MARGIN
        return now + margin >= self.expires_at


class Post(msgspec.Struct, frozen=True, gc=False):
    """One permitted form upload: `fields` go before the file, in a multipart/form-data POST to `url`."""

    url: str
    fields: dict[str, str]
    expires_at: datetime | None = None
    object: ObjectRef = ObjectRef("", "")

    def __repr__(self) -> str:
        return f"Post({self.url}, key={self.fields.get('key')!r}, expires_at={self.expires_at})"


class UploadPart(msgspec.Struct, frozen=True, gc=False):
    """One part of a multipart upload: `number` from 1, and which bytes of the file go through `link`."""

    number: int
    offset: int
    size: int
    link: Link


class Upload(msgspec.Struct, frozen=True, gc=False):
    """One object that goes up in parts: all requests which that takes, each of them a link.

    `parts` are in the order of their numbers, without a gap. An `upload_id` that is empty says that the upload is still
    to be opened, and `complete` then stands for the object alone. `abort` ends the upload, `look` (a GET) shows what is
    under the key; each is None where we were not given one. `is_ours`: we opened it, so we end it where its object is
    given up. `found` has the etags of the parts that the server says it has, by number; None where it was not asked.
    `is_complete`: an earlier run completed it, as the object shows that is there.
    """

    object: ObjectRef
    upload_id: str
    parts: Sequence[UploadPart]
    complete: Link
    abort: Link | None = None
    get_link: Link | None = None
    created_by_us: bool = False
    found: Mapping[int, str] | None = None
    is_complete: bool = False

    @property
    def links(self) -> list[Link]:
        """Its rows in a manifest, in their order."""
        return [*(part.link for part in self.parts), self.complete, *([self.abort] if self.abort else [])]


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """What is recorded of an object that is done: how the object was, and how its local file was.

    `etag` (without quotes) and `checksum` (`algorithm:base64`) are the object's, as the server, the row or the bytes
    tell; `part_size` is that of the parts of which one of them is a value (0: unknown). `size` (bytes), `mtime_ns` and
    `ctime_ns` are those of the file: a later run compares them for equality, so no clock plays a part.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    etag: str | None = None
    checksum: str | None = None
    part_size: int = 0


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of one object.

    `bytes` counts what was moved; `verified_by` names a checksum's algorithm, `md5-parts` or the like, `size`,
    or is None; `seconds` is how long it took in all. `evidence` is what a later run compares with rows and files.
    `code` and `message` tell why an object failed: S3's own error code where there was one. `link` is what was used,
    with which an object that failed can be written to a manifest again; `upload` are all of its links, where it was to
    go up in parts.
    """

    object: ObjectRef
    status: Status
    bytes: int = 0
    attempts: int = 1
    verified_by: str | None = None
    code: str | None = None
    message: str | None = None
    link: Link | None = None
    seconds: float = 0.0
    upload: Upload | None = None
    evidence: Evidence | None = None

    @property
    def is_unproven(self) -> bool:
        """True for an object that is done though nothing but its size, or nothing at all, speaks for its bytes."""
        return self.status == "done" and self.verified_by in {None, "size"} and self.bytes > 0


class Report(msgspec.Struct, kw_only=True):
    """The counts of one run. `bytes` are those of the objects done; `seconds` is wall time.

    `unproven` counts those of the objects done for whose bytes nothing but their size speaks. `skipped_by` names the
    journal on whose word alone objects were skipped (None: files or listings were compared as well).
    `planned` counts what a dry run found to do (None: it was none). `slowed` counts how often a server asked for a
    slower pace, and `lowest_concurrency` is the least that was in flight then. `uploads_opened` counts the multipart
    uploads that were opened, `uploads_left_open` those of this run that are still open at its end.
    """

    verb: str
    done: int = 0
    skipped: int = 0
    failed: int = 0
    expired: int = 0
    bytes: int = 0
    retries: int = 0
    seconds: float = 0.0
    unproven: int = 0
    skipped_by: str | None = None
    planned: int | None = None
    slowed: int = 0
    lowest_concurrency: int | None = None
    uploads_opened: int = 0
    uploads_left_open: int = 0

    @property
    def objects(self) -> int:
        """How many objects have an outcome."""
        return self.done + self.skipped + self.failed + self.expired + (self.planned or 0)


class ResumePoint(msgspec.Struct, frozen=True):
    """The object, or upload, that unfinished bytes belong to: an etag without quotes, or the id of an upload.

    `size` is that of the object; `part_size` that of the parts in which it moves, 0 where it is one. Both in bytes.
    """

    etag: str
    size: int
    part_size: int = 0


#: No bytes of the object are worth resuming.
NO_RESUME_POINT = ResumePoint("", 0)


class Checkpoint(msgspec.Struct, frozen=True):
    """The state of an unfinished object, as an earlier run recorded it.

    `parts` are those that are finished, by number (from 1), each with its proof: a checksum, or an etag.
    """

    point: ResumePoint
    parts: Mapping[int, str] = {}


def without_query(url: str) -> str:
    """The url without its query, where the signature is, and without a user's name: how a url is printed."""
    address = url.partition("?")[0]
    return _USER.sub("", address) if "@" in address else address


def endpoint_of(url: str) -> str:
    """Scheme and host of a url, as they stand in it."""
    end = url.find("/", 8)
    return without_query(url if end < 0 else url[:end])


def utc_now() -> datetime:
    """The present, aware and in UTC."""
    return datetime.now(UTC)


_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+\Z)[A-Za-z0-9](?:[A-Za-z0-9._-]{1,253}[A-Za-z0-9])\Z")


def bucket_problem(bucket: str) -> str | None:
    """Why this can't be a bucket's name, or None.

    Old buckets in us-east-1 and other servers allow up to 255 characters, upper case and `_`, so the rules of today
    (docs: "General purpose bucket naming rules") would refuse buckets that exist. An ARN of an access point passes.
    """
    if bucket.startswith("arn:") or _BUCKET.match(bucket):
        return None
    return f"{bucket!r} can't be a bucket's name (3 to 255 letters, digits, '.', '-' or '_')" if bucket else "no bucket"


def key_problem(key: str) -> str | None:
    """Why S3 would not take this key, or None (docs: "Naming Amazon S3 objects": 1 to 1,024 bytes of UTF-8)."""
    if not key:
        return "the key is empty"
    if "\0" in key:
        return "the key has a NUL character"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "the key is not valid Unicode"
    return f"the key has {size:,} bytes; S3 takes 1,024" if size > MAX_KEY_BYTES else None


def keys_are_plain(keys: Sequence[str]) -> bool:
    """True when a whole batch of keys passes `key_problem`; False when one must be looked at more closely.

    A batch costs a tenth of what its keys cost one by one.
    """
    joined = "".join(keys)
    if "" in keys or "\0" in joined:
        return False
    try:
        joined.encode()
    except UnicodeEncodeError:
        return False
    longest = max(map(len, keys), default=0)
    if joined.isascii() or longest * _MAX_CHARACTER_BYTES <= MAX_KEY_BYTES:
        return longest <= MAX_KEY_BYTES
    return max(len(key.encode()) for key in keys) <= MAX_KEY_BYTES
