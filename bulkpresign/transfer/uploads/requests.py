"""The requests that create, complete and abort a multipart upload.

Each function makes one attempt; the caller decides about retries. Source: docs "CreateMultipartUpload",
"CompleteMultipartUpload", "AbortMultipartUpload".
"""

import re
from collections.abc import Mapping
from html import escape, unescape

import msgspec

from bulkpresign.checksums import ALGORITHMS, PartsHasher, digest_of, expected_digest
from bulkpresign.errors import MismatchError, RefusedError, ServerError, TruncatedError
from bulkpresign.http.client import HttpClient
from bulkpresign.http.connection import Chunk
from bulkpresign.model import Link, ObjectRef, Outcome
from bulkpresign.redact import redacted, secrets_of
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.engine.jobs import Job, RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer

GONE = "NoSuchUpload"

_UPLOAD_ID = re.compile(rb"<UploadId>([^<]{1,4000})</UploadId>")
_ETAG = re.compile(rb"<ETag>([^<]{0,200})</ETag>")
_CHECKSUMS = re.compile(rf"<Checksum({'|'.join(ALGORITHMS).upper()})>([A-Za-z0-9+/=-]{{1,100}})</".encode())
_EMPTY_ETAG = re.compile(rb"<ETag ?/>")
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_CONDITIONS = frozenset({"if-match", "if-none-match"})
_ANY_OBJECT = ObjectRef("", "")


class UploadAborter:
    """Aborts uploads through their DELETE links."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Aborts the upload of one job. Raises TransferError if it can't be aborted."""
        assert isinstance(job.target, RenewableLink)  # noqa: S101 - the dispatch selects by these types
        return await renewer.call(job.target, self._abort)

    async def _abort(self, link: Link) -> Outcome:
        try:
            _, attempts = await self._context.retried(lambda: abort_upload(self._context.http, link), link.object)
        except RefusedError as error:
            if error.code != GONE:
                raise
            return Outcome(link.object, "skipped", message="it was ended, or completed before", link=link)
        return Outcome(link.object, "done", attempts=attempts, link=link)


class Completed(msgspec.Struct, frozen=True):
    """A completed object: its etag, the headers that decide whether that is made of md5s, and checksums by algorithm.

    Checksums are as S3 writes them: those of the whole object in base64, those of parts with their number.
    """

    etag: str
    etag_kind: Mapping[str, str]
    checksums: Mapping[str, str] = {}


async def create_upload(http: HttpClient, link: Link) -> str:
    """Creates an upload and returns its id. Raises ServerError for a response without a usable id."""
    async with http.request(link, {"Content-Length": "0"}, b"") as response:
        said = await response.read()
        found = _UPLOAD_ID.search(said)
        if response.status != 200 or found is None:
            raise await response.error(link, said) if response.status != 200 else _no_id()
    upload_id = unescape(found[1].decode("utf-8", "replace"))
    if redacted(upload_id, secrets_of(link.url, link.headers)) != upload_id:  # the id is stored and shown
        raise ServerError("the upload's id repeats a secret of the request", code="NoUploadId")
    return upload_id


async def complete_upload(
    http: HttpClient, link: Link, etags: Mapping[int, str], checksums: Mapping[int, str] | None = None
) -> Completed:
    """Completes an upload. `etags` are those of all parts, by number; `checksums` those that parts were sent with.

    S3 sends status 200 before it has finished, and may report an error in the body after that. So the response is read
    to its end before it counts as a success.
    """
    body = completion(etags, checksums or {})
    async with http.request(link, {"Content-Length": str(len(body))}, body) as response:
        said = await response.read()
        if response.status != 200 or b"<Error>" in said:
            raise await response.error(link, said)
    return Completed(etag_of(said), response.etag_kind, checksums_of(said))


def condition_of(link: Link) -> dict[str, str]:
    """The headers of a link with the conditions under which it writes."""
    return {name: value for name, value in link.headers.items() if name.lower() in _CONDITIONS}


def without_condition(link: Link) -> Link:
    """The same link without its conditions. It has to be signed again."""
    headers = {name: value for name, value in link.headers.items() if name.lower() not in _CONDITIONS}
    return msgspec.structs.replace(link, headers=headers)


async def abort_upload(http: HttpClient, link: Link) -> None:
    """Aborts an upload; the server deletes its parts."""
    async with http.request(link) as response:
        if response.status not in {200, 204}:
            raise await response.error(link)
        if response.status == 200 and b"<Error>" in (said := await response.read()):
            raise await response.error(link, said)


async def etag_under(http: HttpClient, link: Link) -> str | None:
    """The etag of the object that a GET link is for; None if the object does not exist."""
    async with http.request(link, {"Range": "bytes=0-0"}) as response:
        if response.status == 404:
            return None
        if response.status not in {200, 206}:
            raise await response.error(link)
        return response.etag


async def read_parts_etag(http: HttpClient, link: Link, part_size: int) -> str:
    """The etag that S3 would give an object uploaded in parts of this size, by reading all of the object."""
    made = PartsHasher("md5", part_size)

    def take(chunk: Chunk) -> bool:
        made.update(chunk)
        return False

    async with http.request(link) as response:
        if response.status != 200:
            raise await response.error(link)
        await response.stream_to(take)
    return f"{made.digest().hex()}-{len(made.digests()) // ALGORITHMS['md5']}"


def completion(etags: Mapping[int, str], checksums: Mapping[int, str]) -> bytes:
    """The request body that completes an upload: its parts by number, each with its etag.

    `checksums` are those of parts, as `algorithm:base64`.
    """
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{escape(etags[number], quote=False)}&quot;</ETag>"
        f"{_checksum_element(checksums.get(number))}</Part>"
        for number in sorted(etags)
    )
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<CompleteMultipartUpload xmlns="{namespace}">{parts}</CompleteMultipartUpload>'.encode()


def _checksum_element(checksum: str | None) -> str:
    if checksum is None:
        return ""
    algorithm, _, value = checksum.partition(":")
    return f"<Checksum{algorithm.upper()}>{value}</Checksum{algorithm.upper()}>"


def checksums_of(said: bytes) -> dict[str, str]:
    """The checksums in the response to a completion or to the copy of a part, by algorithm."""
    return {name.decode().lower(): value.decode() for name, value in _CHECKSUMS.findall(said)}


def etag_of(said: bytes) -> str:
    """The etag in the response to a completion; empty if the server had already completed the upload (Ceph).

    Raises TruncatedError for a response without an etag element: it ended early.
    """
    found = _ETAG.search(said)
    if found is None and not _EMPTY_ETAG.search(said):
        raise TruncatedError("the answer to the completion ended early", code="Truncated")
    return unescape(found[1].decode("utf-8", "replace")).strip('"') if found else ""


def composite_etag(etags: Mapping[int, str]) -> str | None:
    """The etag of an object with these parts, None if an etag of a part is not an MD5."""
    ordered = [etags[number] for number in sorted(etags)]
    if not all(map(_MD5.match, ordered)):
        return None
    return f"{digest_of('md5', b''.join(map(bytes.fromhex, ordered))).hex()}-{len(ordered)}"


def check_completed(completed: Completed, etags: Mapping[int, str]) -> str | None:
    """Compares the etag of a completed object with the etags of its parts. Returns the name of the check.

    None if the etags can't be compared. Raises MismatchError if they differ.
    """
    expected = expected_digest(_ANY_OBJECT, completed.etag, completed.etag_kind)
    ours = composite_etag(etags)
    if not expected.parts or ours is None:
        return None
    if completed.etag.lower() != ours:
        raise MismatchError(f"the object's etag is {completed.etag}, its parts make {ours}", code="EtagMismatch")
    return expected.name


def _no_id() -> ServerError:
    return ServerError("the answer names no upload", code="NoUploadId")
