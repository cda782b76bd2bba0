"""The responses of a wire's server: the small part of S3 that downloads and uploads need."""

import hashlib
import itertools
import re
from email.utils import formatdate
from functools import lru_cache
from time import time

from tests.servers.wire import Wire
from tests.servers.wire_objects import etag_of, kind_of, size_of

_FIELD = re.compile(
    rb"\r\n(content-length|expect|connection|range|if-match|transfer-encoding):[ \t]*([^\r]*)", re.IGNORECASE
)
_RANGE = re.compile(rb"bytes=(\d*)-(\d*)\Z")
_MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"
_REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    400: "Bad Request",
    404: "Not Found",
    411: "Length Required",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    501: "Not Implemented",
    503: "Service Unavailable",
}
_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_upload_numbers = itertools.count(1)


class Answer:
    """A status, fields and a body: `text`, or `count` bytes of an object's content from `start` on."""

    __slots__ = ("count", "fields", "kind", "start", "status", "text")

    def __init__(
        self, status: int, fields: str = "", text: bytes | None = b"", kind: int = 0, start: int = 0, count: int = 0
    ) -> None:
        self.status = status
        self.fields = fields
        self.text = text
        self.kind = kind
        self.start = start
        self.count = count if text is None else len(text)

    def head(self, closes: bool) -> bytes:
        """The head as it goes out."""
        length = "" if "Content-Length" in self.fields else f"Content-Length: {self.count}\r\n"
        connection = "Connection: close\r\n" if closes else ""
        status = f"HTTP/1.1 {self.status} {_REASONS[self.status]}"
        return f"{status}\r\nDate: {_date(int(time()))}\r\n{length}{self.fields}{connection}\r\n".encode("latin-1")


class Request:
    """A request's head, how much of its body is missing, and how far its answer is."""

    __slots__ = (
        "admitted",
        "answer",
        "at",
        "chunk",
        "closes",
        "digest",
        "expects",
        "fields",
        "head",
        "left",
        "length",
        "method",
        "missing",
        "path",
        "query",
        "text",
        "waits_for_socket",
    )

    def __init__(self, head: bytes) -> None:
        line, _, _ = head.partition(b"\r\n")
        self.method, _, target = line.partition(b" ")
        self.path, _, self.query = target.partition(b" ")[0].partition(b"?")
        self.fields = {name.lower(): value for name, value in _FIELD.findall(head)}
        self.length = int(self.fields.get(b"content-length", 0))
        self.expects = b"expect" in self.fields
        self.closes = self.fields.get(b"connection", b"").lower() == b"close"
        self.missing = 0
        self.admitted = True
        self.answer: Answer | None = None
        self.head = b""
        self.at = self.left = self.chunk = 0
        self.waits_for_socket = False
        self.digest = hashlib.md5()
        self.text = b""

    def receive(self, body: memoryview, md5_size: int) -> None:
        """Bytes of the body: hashed where the object is small, kept where they are a completion."""
        self.missing -= len(body)
        if self.method == b"POST":
            self.text += body
        elif self.length <= md5_size:
            self.digest.update(body)


def answer_of(request: Request, wire: Wire) -> Answer:
    """The answer to a request that is admitted."""
    if b"transfer-encoding" in request.fields:
        request.closes = True
        return error(411, "MissingContentLength")
    if request.method in {b"GET", b"HEAD"}:
        found = _object(request, wire)
        return found if request.method == b"GET" else _without_body(found)
    if request.method == b"PUT":
        small = request.length <= wire.md5_upload_size
        etag = request.digest.hexdigest() if small else f"wire-{request.length}"
        return Answer(200, f'ETag: "{etag}"\r\n')
    if request.method == b"POST":
        return _multipart(request)
    if request.method == b"DELETE":
        return Answer(204)
    return error(501, "NotImplemented")


def slow_down(wire: Wire) -> Answer:
    """The answer to a request that is one too many."""
    return error(503, "SlowDown", "" if wire.retry_after is None else f"Retry-After: {wire.retry_after}\r\n")


def error(status: int, code: str, fields: str = "") -> Answer:
    """An error as S3 words it."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>'
    return Answer(status, f"Content-Type: application/xml\r\n{fields}", text.encode())


def _object(request: Request, wire: Wire) -> Answer:
    size = size_of(request.path)
    if size is None:
        return error(404, "NoSuchKey")
    kind = kind_of(request.path)
    etag = etag_of(kind, size, wire.md5_size)
    expected = request.fields.get(b"if-match", b"*").strip(b'"')
    if expected not in {b"*", etag.encode()}:
        return error(412, "PreconditionFailed")
    told = f'ETag: "{etag}"\r\nLast-Modified: {_MODIFIED}\r\nAccept-Ranges: bytes\r\n'
    wanted = _RANGE.match(request.fields.get(b"range", b""))
    if wanted is None:
        return Answer(200, told, None, kind, 0, size)
    first, last = _bounds(wanted[1], wanted[2], size)
    if first > last:
        return error(416, "InvalidRange", f"Content-Range: bytes */{size}\r\n")
    return Answer(206, f"{told}Content-Range: bytes {first}-{last}/{size}\r\n", None, kind, first, last - first + 1)


def _bounds(first: bytes, last: bytes, size: int) -> tuple[int, int]:
    """The first and the last byte of a range; first > last where there is none."""
    if not first:
        return (max(0, size - int(last)), size - 1) if last and int(last) else (1, 0)
    return int(first), min(size - 1, int(last)) if last else size - 1


def _without_body(answer: Answer) -> Answer:
    return Answer(answer.status, f"Content-Length: {answer.count}\r\n{answer.fields}")


def _multipart(request: Request) -> Answer:
    if request.query.startswith(b"uploads"):
        said = f"<UploadId>wire-{next(_upload_numbers)}</UploadId>"
        return _said("InitiateMultipartUploadResult", said)
    if b"uploadId=" in request.query:
        count = request.text.count(b"<PartNumber>")
        return _said("CompleteMultipartUploadResult", f"<ETag>&quot;wire-{count}&quot;</ETag>")
    return error(501, "NotImplemented")


def _said(name: str, inner: str) -> Answer:
    return Answer(200, "Content-Type: application/xml\r\n", f"<{name} {_NAMESPACE}>{inner}</{name}>".encode())


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
