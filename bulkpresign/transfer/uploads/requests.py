"""The requests that create, complete and abort a multipart upload.

Each is one attempt; the caller decides about another one. Source: docs "CreateMultipartUpload",
"CompleteMultipartUpload", "AbortMultipartUpload".
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from html import escape, unescape

import anyio
import msgspec
from anyio.abc import TaskStatus

from bulkpresign.checksums import expected_digest, hasher
from bulkpresign.errors import MismatchError, RefusedError, ServerError, TruncatedError
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link, ObjectRef, Outcome
from bulkpresign.redact import redacted, secrets_of
from bulkpresign.tasks import ungrouped
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.engine.jobs import Job, RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer

GONE = "NoSuchUpload"
_GRACE = 5.0  # seconds

_UPLOAD_ID = re.compile(rb"<UploadId>([^<]{1,4000})</UploadId>")
_ETAG = re.compile(rb"<ETag>([^<]{0,200})</ETag>")
_EMPTY_ETAG = re.compile(rb"<ETag ?/>")
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_ANY_OBJECT = ObjectRef("", "")


class UploadAborter:
    """Ends uploads through their DELETE links."""

    def __init__(self, context: TransferContext) -> None:
        self._context = context

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Ends the upload of one job. Raises TransferError where it can't be ended."""
        assert isinstance(job.target, RenewableLink)  # noqa: S101 - as the dispatch has it
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
    """A completed object: its etag, and the headers that tell its encryption."""

    etag: str
    encryption: Mapping[str, str]


async def create_upload(http: HttpClient, link: Link) -> str:
    """Opens an upload, and gives its id."""
    async with http.request(link, {"Content-Length": "0"}, b"") as response:
        said = await response.read()
        found = _UPLOAD_ID.search(said)
        if response.status != 200 or found is None:
            raise await response.error(link, said) if response.status != 200 else _no_id()
    upload_id = unescape(found[1].decode("utf-8", "replace"))
    if redacted(upload_id, secrets_of(link.url, link.headers)) != upload_id:  # it would be stored and shown
        raise ServerError("the upload's id repeats a secret of the request", code="NoUploadId")
    return upload_id


async def finish_soon(work: Callable[[], Awaitable[None]]) -> None:
    """Runs work that must not be cut off: the id of an upload that is being opened would be known to nobody.

    Where we are cancelled it has a few more seconds, and should keep its result itself, for none is returned.
    """

    async def hurry(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        task_status.started()
        try:
            await anyio.sleep_forever()
        finally:
            scope.deadline = anyio.current_time() + _GRACE

    with ungrouped():
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope(shield=True)
            await group.start(hurry, scope)
            with scope:
                await work()
            group.cancel_scope.cancel()


async def complete_upload(http: HttpClient, link: Link, etags: Mapping[int, str]) -> Completed:
    """Makes the object of its parts. `etags` are those of all parts, by number.

    S3 answers 200 before it is done, and may say after that that it failed; so an answer counts only once its end was
    read.
    """
    body = completion(etags)
    async with http.request(link, {"Content-Length": str(len(body))}, body) as response:
        said = await response.read()
        if response.status != 200 or b"<Error>" in said:
            raise await response.error(link, said)
    return Completed(etag_of(said), response.encryption)


async def abort_upload(http: HttpClient, link: Link) -> None:
    """Ends an upload; its parts are deleted."""
    async with http.request(link) as response:
        if response.status not in {200, 204}:
            raise await response.error(link)


async def etag_under(http: HttpClient, link: Link) -> str | None:
    """The etag of the object that is under a key, by its GET link; None where there is none."""
    async with http.request(link, {"Range": "bytes=0-0"}) as response:
        if response.status == 404:
            return None
        if response.status not in {200, 206}:
            raise await response.error(link)
        return response.etag


def completion(etags: Mapping[int, str]) -> bytes:
    """The body that completes an upload: its parts in their order, each with its etag."""
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{escape(etags[number], quote=False)}&quot;</ETag></Part>"
        for number in sorted(etags)
    )
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<CompleteMultipartUpload xmlns="{namespace}">{parts}</CompleteMultipartUpload>'.encode()


def etag_of(said: bytes) -> str:
    """The etag in an answer to a completion; empty where the server had completed the upload before (Ceph).

    Raises TruncatedError for an answer without one: it broke off.
    """
    found = _ETAG.search(said)
    if found is None and not _EMPTY_ETAG.search(said):
        raise TruncatedError("the answer to the completion ended early", code="Truncated")
    return unescape(found[1].decode("utf-8", "replace")).strip('"') if found else ""


def composite_etag(etags: Mapping[int, str]) -> str | None:
    """The etag of an object of these parts, None where their etags are no md5s."""
    ordered = [etags[number] for number in sorted(etags)]
    if not all(map(_MD5.match, ordered)):
        return None
    digest = hasher("md5")
    digest.update(b"".join(map(bytes.fromhex, ordered)))
    return f"{digest.digest().hex()}-{len(ordered)}"


def check_completed(completed: Completed, etags: Mapping[int, str]) -> str | None:
    """The name of what verified the object, None where its etag is of another kind. Raises MismatchError."""
    expected = expected_digest(_ANY_OBJECT, completed.etag, completed.encryption)
    ours = composite_etag(etags)
    if not expected.parts or ours is None:
        return None
    if completed.etag.lower() != ours:
        raise MismatchError(f"the object's etag is {completed.etag}, its parts make {ours}", code="EtagMismatch")
    return expected.name


def _no_id() -> ServerError:
    return ServerError("the answer names no upload", code="NoUploadId")
