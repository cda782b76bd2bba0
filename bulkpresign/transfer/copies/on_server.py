"""Copies that the server makes itself: no byte of the object comes here.

Source: docs "CopyObject", "UploadPartCopy".
"""

from collections.abc import Mapping
from urllib.parse import quote

from bulkpresign.errors import RefusedError, TransferError
from bulkpresign.events import BytesMoved
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link, ObjectRef, UploadPart
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import SignPut
from bulkpresign.transfer.copies.composite import Composite
from bulkpresign.transfer.copies.head import ObjectHead
from bulkpresign.transfer.copies.source import changed
from bulkpresign.transfer.uploads.requests import checksums_of, etag_of

#: The header that makes a PUT a copy.
SOURCE = "x-amz-copy-source"
_IGNORED = "CopyIgnored"


def copy_headers(ref: ObjectRef, etag: str | None, start: int = 0, stop: int = 0) -> dict[str, str]:
    """The headers that make a PUT a copy of an object, or of its bytes from `start` to before `stop`."""
    between = "/object/" if ref.bucket.startswith("arn:") else "/"  # an access point
    source = quote(f"{ref.bucket}{between}{ref.key}", safe="/:")
    headers = {SOURCE: f"{source}?versionId={quote(ref.version_id)}" if ref.version_id else source}
    if etag:
        headers[f"{SOURCE}-if-match"] = f'"{etag}"'
    if stop:
        headers[f"{SOURCE}-range"] = f"bytes={start}-{stop - 1}"
    return headers


async def copy_on_server(http: HttpClient, link: Link) -> str:
    """Sends a copy request, in one attempt. Gives the etag of the copy."""
    return etag_of(await _copied(http, link))


async def _copied(http: HttpClient, link: Link) -> bytes:
    """The response to a copy request.

    S3 sends status 200 before the copy has finished, and may report an error in the body after that. A server that does
    not know copies stores the body of the request, which is empty, and answers as to any other: without a body.
    """
    async with http.request(link, {"Content-Length": "0"}, b"") as response:
        said = await response.read()
        if response.status == 412:
            raise changed()
        if response.status != 200 or b"<Error>" in said:
            raise await response.error(link, said)
        if not said.strip() and response.etag:
            raise RefusedError(f"the server ignores {SOURCE}", code=_IGNORED, status=response.status)
    return said


class ServerParts:
    """An object as the source of the parts of an upload to its own server: see PartSource."""

    def __init__(
        self, context: TransferContext, sign: SignPut, ref: ObjectRef, head: ObjectHead, composite: Composite | None
    ) -> None:
        self._context, self._sign, self._ref, self._head = context, sign, ref, head
        self.composite = composite
        #: The bytes did not come here.
        self.verified_by: str | None = None

    def note(self, number: int) -> str:
        """The etag of the object, and the checksum of the part where it is kept."""
        return f"{self._head.etag or ''} {self.checksum(number) or ''}".rstrip()

    def is_current(self, number: int, note: str) -> bool:
        """True for a part of this very object, whose checksum is known where it is needed."""
        etag, _, checksum = note.partition(" ")
        if etag != self._head.etag:
            return False
        return self.composite is None or self.composite.restore(number, checksum)

    def forget(self) -> None:
        """See PartSource."""
        if self.composite is not None:
            self.composite.forget()

    def checksum(self, number: int) -> str | None:
        """See PartSource."""
        return None if self.composite is None else self.composite.checksum(number)

    async def md5(self, part: UploadPart) -> None:
        """Unknown: the part would have to be read."""

    async def store(self, link: Link, part: UploadPart) -> str | None:
        """Has the server copy a part."""
        # S3 takes no range of an object of up to 5 MiB, which is the only part of its upload
        stop = 0 if part.size == self._head.size else part.offset + part.size
        headers = copy_headers(self._ref, self._head.etag, part.offset, stop)
        said = await _copied(self._context.http, await self._sign(link, headers))
        if self.composite is not None and (value := checksums_of(said).get(self.composite.algorithm)):
            self.composite.restore(part.number, f"{self.composite.algorithm}:{value}")
        self._context.emit(BytesMoved(part.size))
        return etag_of(said)

    def check_etag(self, etag: str | None, etag_kind: Mapping[str, str]) -> None:
        """Nothing: some servers give copies of parts another etag."""

    def check_unchanged(self) -> None:
        """Nothing is left to check: every part names the object's etag."""


def is_unsupported(error: TransferError) -> bool:
    """True for the error of a server that can't copy. Storj and Google Cloud Storage can't copy parts of an object."""
    return error.status in {405, 501} or error.code == _IGNORED


def with_rights_hint(error: RefusedError) -> RefusedError:
    """The same error; for a denied copy with the rights that a GET and a PUT don't need.

    Source: docs "CopyObject", which copies the tags of its object.
    """
    if error.code != "AccessDenied":
        return error
    hint = "the server copies tags as well, which takes s3:GetObjectTagging and s3:PutObjectTagging; --no-tags does not"
    return RefusedError(f"{error} ({hint})", code=error.code, status=error.status)
