"""The data of all stages: objects, links, outcomes, reports.

All are msgspec structs: as fast to create as tuples, compared by value, and decoded from JSON with errors that name the
field. With `gc=False`, the garbage collector does not visit them; none can be part of a reference cycle.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, TypeVar, cast

import msgspec

T = TypeVar("T")

Method = Literal["GET", "PUT", "HEAD", "DELETE"]
#: The methods that batches sign. POST opens a multipart upload.
BatchMethod = Method | Literal["POST"]
Status = Literal["done", "skipped", "failed", "expired"]

#: A link counts as expired this much before its expiry, or a tenth of its lifetime if that is less.
EXPIRY_MARGIN = timedelta(seconds=30)
#: The margin of a link that no renewal can replace by one that expires later: it is valid until its expiry.
NO_MARGIN = timedelta()

#: The name of a header: a token of RFC 9110, 5.6.2.
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_USER = re.compile(r"(?<=://)[^/#]*@")
#: The query of a link that S3 accepts, in version 4 or 2 of its signatures.
_SIGNED_FOR_S3 = re.compile(r"[?&](?:X-Amz-Signature|AWSAccessKeyId)=")
_LIFETIME = re.compile(r"[?&]X-Amz-Expires=(\d{1,9})(?:&|$)")

#: The longest key that S3 allows, in bytes of UTF-8.
MAX_KEY_BYTES = 1024

_MAX_CHARACTER_BYTES = 4  # of UTF-8

#: The kinds of requests that a plan counts.
REQUEST_KINDS = ("GET", "HEAD", "PUT", "POST", "COPY", "LIST")
#: The units in which the bytes of a plan have a price. Providers mean either of them by "GB".
PRICED_UNITS = {"GB": 10**9, "GiB": 1 << 30}


class _Shown:
    """An object whose repr is a given text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def rich_repr(value: object) -> list[Any]:
    """The `__rich_repr__` of structs whose repr `Name(...)` hides secrets: gives what is between its parentheses.

    That of msgspec gives all fields, and rich takes it before the repr, also for the locals of a traceback.
    """
    return [_Shown(repr(value).partition("(")[2][:-1])]


class ObjectRef(msgspec.Struct, frozen=True, gc=False):
    """One object in a bucket, with its known attributes.

    `size` in bytes; `etag` without quotes; `checksum` as `algorithm:base64`; `path` is the file's path below a folder,
    with `/` between segments (None: the key); `extra` holds the carried columns of a manifest. The repr has only their
    names, because one of them can be a link or a customer's key. `archived` is True for an object that is listed in a
    storage class from which it has to be restored before it can be read; a listing does not tell whether it is.
    An object can be in a set, and a key of a dict.
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
    archived: bool = False

    def __repr__(self) -> str:
        names = [name for name in self.__struct_fields__[2:-2] if getattr(self, name) is not None]
        shown = [repr(self.bucket), repr(self.key), *(f"{name}={getattr(self, name)!r}" for name in names)]
        if self.extra:
            shown.append(f"extra={{{', '.join(f'{name!r}: ...' for name in self.extra)}}}")
        if self.archived:
            shown.append("archived=True")
        return f"ObjectRef({', '.join(shown)})"

    __rich_repr__ = rich_repr

    def __hash__(self) -> int:  # a dict has none, so the generated one fails with `extra`
        return hash((self.bucket, self.key, self.version_id))

    @property
    def file_path(self) -> str:
        """The path of the object's file below a folder."""
        return self.key if self.path is None else self.path

    @property
    def is_folder_marker(self) -> bool:
        """True for an empty object whose key ends in `/`, as S3's console makes, unless its row names a file."""
        return self.size == 0 and self.key.endswith("/") and self.file_path[-1:] in {"", "/"}

    @property
    def uri(self) -> str:
        """The object's name for messages: `s3://bucket/key`, its key if it has no bucket, or its path without a key."""
        if self.bucket and self.key:
            return f"s3://{plain(self.bucket)}/{plain(self.key)}"
        return plain(self.key or self.path or "")


class Link(msgspec.Struct, frozen=True, gc=False):
    """A presigned request, and the time at which it expires.

    Send exactly `method`, `url` and `headers` (signed headers must have the same values). The links of a batch may
    share one `headers`. `expires_at` is an aware UTC datetime, None if unknown. A link can be in a set, and a
    key of a dict.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    expires_at: datetime | None = None
    object: ObjectRef = ObjectRef("", "")

    def __repr__(self) -> str:
        return f"Link({self.method} {without_query(self.url)}?..., expires_at={self.expires_at})"

    __rich_repr__ = rich_repr

    def __hash__(self) -> int:  # `headers` have none
        return hash((self.method, self.url))

    def expires_by(self, now: datetime, margin: timedelta = EXPIRY_MARGIN) -> bool:
        """True if the link has expired at `now`, or will within the margin.

        The margin is `margin`, or a tenth of the link's lifetime if that is less.
        """
        if self.expires_at is None or now + margin < self.expires_at:  # no subtraction: `expires_at` may be in year 1
            return False
        if lifetime := _LIFETIME.search(self.url):
            margin = min(margin, timedelta(seconds=int(lifetime[1])) / 10)
        return now + margin >= self.expires_at


class Post(msgspec.Struct, frozen=True, gc=False):
    """A presigned form upload: a multipart/form-data POST to `url`, with `fields` before the file."""

    url: str
    fields: dict[str, str]
    expires_at: datetime | None = None
    object: ObjectRef = ObjectRef("", "")

    def __repr__(self) -> str:
        return f"Post({self.url}, key={self.fields.get('key')!r}, expires_at={self.expires_at})"

    __rich_repr__ = rich_repr


class UploadPart(msgspec.Struct, frozen=True, gc=False):
    """One part of a multipart upload: its number (from 1), its range of bytes in the file, and its link."""

    number: int
    offset: int
    size: int
    link: Link


class Upload(msgspec.Struct, frozen=True, gc=False):
    """A multipart upload of one object, with a link for each request.

    `parts` are in the order of their numbers, without a gap. An empty `upload_id` means that the upload is not created
    yet; `complete` then has only the object. `abort` aborts the upload, `get_link` gets the object under the key; each
    is None if the manifest does not have it. With `created_by_us`, this run created the upload, and aborts it if the
    object is given up. `found` has the etags of the parts on the server, by number; None if it was not asked. With
    `is_complete`, an earlier run completed the upload, as the existing object shows.
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
        """The links in the order of their rows in a manifest."""
        return [*(part.link for part in self.parts), self.complete, *([self.abort] if self.abort else [])]


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """The recorded state of an object that is done, and of its local file.

    `etag` (without quotes) and `checksum` (`algorithm:base64`) are the object's, from the server, the row or the bytes;
    `part_size` is the part size of a composite one (0: unknown). `size` (bytes), `mtime_ns` and `ctime_ns` are the
    file's. A later run only tests whether they are equal, so clocks do not matter.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    etag: str | None = None
    checksum: str | None = None
    part_size: int = 0


#: The code of an object whose transfer ended with the run. It has not failed: the next run moves it.
INTERRUPTED = "Interrupted"
#: The values of `verified_by` that prove no bytes: nothing was verified, or the size alone.
NO_PROOF = frozenset({None, "size"})


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The result for one object.

    `bytes` counts the bytes that were moved. `verified_by` is the name of a checksum algorithm, `md5-parts` or the
    like, `size`, or None. `seconds` is the total time. A later run compares `evidence` with rows and files. `code` and
    `message` tell why an object failed; `code` is the error code of S3 if there is one. With `link`, a failed object
    can be written to a manifest again; `upload` has all links of a multipart upload.
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
        """True for an object that is done although at most its size could be verified."""
        return self.status == "done" and self.verified_by in NO_PROOF and self.bytes > 0


class SizeClass(msgspec.Struct, frozen=True):
    """The objects up to a size: their number, and the sum of their bytes. `most` is None for all larger ones."""

    most: int | None
    objects: int
    bytes: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a dry run of `copy`.

    `requests` counts them by kind (see REQUEST_KINDS), without retries: `COPY` are copies that the server makes itself,
    `LIST` those of listings, as many as the dry run sent. `bytes_out` leave the server of the source. `in_parts`
    objects would be copied in parts. `unsized` objects have no size in their rows. `largest` are the largest objects,
    with their sizes. `skipped` counts the objects that would not be copied, by reason. `measured_rate` is that of the
    earlier runs in the journal, in bytes per second, None if there is none.
    """

    requests: Mapping[str, int]
    bytes_out: int
    in_parts: int
    unsized: int
    largest: Sequence[tuple[int, str]]
    sizes: Sequence[SizeClass]
    skipped: Mapping[str, int]
    measured_rate: float | None = None

    def costs(self, prices: Mapping[str, float]) -> dict[str, float]:
        """The costs by the names of the prices. Requests and bytes without a price cost nothing, and have no entry.

        A price is for 1,000 requests of a kind, such as `GET`, or for a `GB` (10^9 bytes) or `GiB` that moves out.
        """
        units = {kind: count / 1000 for kind, count in self.requests.items()}
        units |= {name: self.bytes_out / size for name, size in PRICED_UNITS.items() if self.bytes_out}
        return {name: price * units[name] for name, price in prices.items() if name in units}


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a certificate, see `proof.certificate`.

    `objects` and `bytes` are the sums of all rows. `root` is that of the Merkle tree over them, in hex.
    """

    format: str
    version: int
    algorithm: str
    objects: int
    bytes: int
    root: str
    created_at: datetime
    created_by: str


class Report(msgspec.Struct, kw_only=True):
    """The counts of one run. `bytes` counts those of the objects that are done; `seconds` is the elapsed time.

    `unproven` counts objects that are done although only their size could be verified. `skipped_by` is the journal, if
    objects were skipped only because of it (None: files or listings were compared as well). `planned` is the number of
    objects that a dry run would move (None: not a dry run), and `plan` is more about them, for `copy`. `certificate` is
    the first line of the certificate that was written (None: none was), and `uncertified` counts the copies that could
    not be read for it: each is done or skipped as well. `untagged` counts copies that may lack the tags of their
    objects. `slowed` counts how often a server asked for a lower rate, or too many files were open, and
    `lowest_concurrency` is the lowest number of requests in flight then. `uploads_opened` counts the multipart uploads
    that were created, `uploads_left_open` those that are still open at the end. `left_out` counts the files below a
    folder that are no data: temporary files of unfinished downloads, and journals. `archived` counts the objects that
    failed because they are archived, and `archived_bytes` their bytes. A dry run, and `sign`, count those that are
    listed so. `extra` counts the objects that only the destination has (None: that was not asked for).
    `concurrency` is the number of requests that the run had in flight at its end, `bound_by` what bounded it (see
    LoadMeasured), and `latency` the seconds in which the server answers; None before the first response.
    `may_end_early` is True for links that a session token signed whose end is not known: they end with it.
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
    plan: Plan | None = None
    certificate: Certificate | None = None
    uncertified: int = 0
    untagged: int = 0
    slowed: int = 0
    lowest_concurrency: int | None = None
    concurrency: int | None = None
    bound_by: str | None = None
    latency: float | None = None
    uploads_opened: int = 0
    uploads_left_open: int = 0
    left_out: int = 0
    archived: int = 0
    archived_bytes: int = 0
    extra: int | None = None
    may_end_early: bool = False

    @property
    def objects(self) -> int:
        """The number of objects with an outcome."""
        return self.done + self.skipped + self.failed + self.expired + (self.planned or 0)

    def add_archived(self, refs: Iterable[ObjectRef]) -> None:
        """Counts objects that are archived."""
        for ref in refs:
            self.archived += 1
            self.archived_bytes += ref.size or 0


class ResumePoint(msgspec.Struct, frozen=True):
    """The object to which partial data belongs: an object's etag without quotes, or the id of an upload.

    `size` is the object's, `part_size` that of its parts, 0 if it has no parts. Both in bytes.
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
    """The url without its query, which has the signature, and without user and password. Messages show this."""
    address = url.partition("?")[0]
    return _USER.sub("", address) if "@" in address else address


def is_signed_for_s3(url: str) -> bool:
    """True for a link with a signature of S3: not for one of another service, of a CDN or of a web server."""
    return _SIGNED_FOR_S3.search(url) is not None


def endpoint_of(url: str) -> str:
    """The scheme and host of a url."""
    end = url.find("/", 8)
    return _endpoint(url if end < 0 else url[:end])


_endpoint = lru_cache(maxsize=64)(without_query)  # a run has few of them, and each object asks


def plain(value: T) -> T:
    """A member of an enum of texts as its text, and any other value as it is.

    `str` and f-strings give the name of such a member, `Bucket.DATA`, where `join` and `encode` give its text.
    """
    return cast("T", str.__str__(value)) if isinstance(value, str) and type(value) is not str else value


def utc_now() -> datetime:
    """The current time as an aware UTC datetime."""
    return datetime.now(UTC)


_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+\Z)[A-Za-z0-9](?:[A-Za-z0-9._-]{1,253}[A-Za-z0-9])\Z")


def bucket_problem(bucket: str) -> str | None:
    """Validation error for a bucket's name, or None.

    Old buckets in us-east-1 and other servers allow up to 255 characters, upper case and `_`. The current rules (docs:
    "General purpose bucket naming rules") would refuse them. An ARN of an access point is valid.
    """
    if bucket.startswith("arn:") or _BUCKET.match(bucket):
        return None
    return f"{bucket!r} can't be a bucket's name (3 to 255 letters, digits, '.', '-' or '_')" if bucket else "no bucket"


def key_problem(key: str) -> str | None:
    """Validation error for a key, or None (docs: "Naming Amazon S3 objects": 1 to 1,024 bytes of UTF-8)."""
    if not key:
        return "the key is empty"
    if "\0" in key:
        return "the key has a NUL character"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "the key is not valid Unicode"
    return f"the key has {size:,} bytes; S3 allows 1,024" if size > MAX_KEY_BYTES else None


def keys_are_plain(keys: Sequence[str]) -> bool:
    """True if all keys of a batch are valid. If False, `key_problem` tells which one is not.

    Checking a batch takes a tenth of the time of checking each key.
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
