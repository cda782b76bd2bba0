"""The tags of objects, read for their copies with the credentials of the source.

Source: docs "GetObjectTagging", "PutObject".
"""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import msgspec

from bulkpresign.errors import CredentialsError, InputError, LinkExpiredError, RefusedError
from bulkpresign.events import TagsDropped
from bulkpresign.model import Link, ObjectRef, ResumePoint, Upload
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.copies.on_server import SOURCE
from bulkpresign.transfer.copies.tags import REFUSES_TAGS, TAGGING, TAGS_HINT, tagged_object

OpenUpload = Callable[[Upload, ResumePoint | None, Mapping[int, str]], Awaitable[Upload]]
_DIRECTIVE = "x-amz-tagging-directive"


class CopiedTags:
    """Puts the tags of an object into the headers of its copy. Without a `presigner`, copies have no tags.

    With `are_replaced`, all copies have the same tags, which are signed into their links anyway.
    """

    def __init__(self, presigner: Presigner | None, context: TransferContext, *, are_replaced: bool) -> None:
        self._presigner, self._context, self._are_replaced = presigner, context, are_replaced

    async def in_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The headers with the tags of the object that they name: see `transfer.copies.tags`.

        Raises TransferError where the tags can't be read.
        """
        ref = tagged_object(headers)
        if ref is not None:
            tags = "" if self._presigner is None or self._are_replaced else await self._read(ref)
            rest = {name: value for name, value in headers.items() if name != TAGGING}
            return {**rest, TAGGING: tags} if tags else rest
        if self._presigner is None and SOURCE in headers and f"{SOURCE}-range" not in headers:
            return {**headers, _DIRECTIVE: "REPLACE"}  # else the server copies them
        return headers

    def opening(self, open_upload: OpenUpload) -> OpenUpload:
        """A function that opens an upload with the tags of its object."""

        async def opened(upload: Upload, known: ResumePoint | None, kept: Mapping[int, str]) -> Upload:
            tagged = await self._in_upload(upload)
            try:
                return await open_upload(tagged, known, kept)
            except RefusedError as error:
                if TAGGING not in tagged.complete.headers or error.status not in REFUSES_TAGS:
                    raise
                raise RefusedError(f"{error} ({TAGS_HINT})", code=error.code, status=error.status) from error

        return opened

    async def _in_upload(self, upload: Upload) -> Upload:
        link = upload.complete
        if tagged_object(link.headers) is None:
            return upload
        headers = await self.in_headers(link.headers)
        if TAGGING not in headers and not self._are_replaced:
            self._context.emit(TagsDropped(upload.object))
        return msgspec.structs.replace(upload, complete=msgspec.structs.replace(link, headers=headers))

    async def _read(self, ref: ObjectRef) -> str:
        async def once() -> str:
            link = await self._link(ref)
            async with self._context.http.request(link) as response:
                said = await response.read()
                if response.status != 200:
                    raise await response.error(link, said)
            return _tags_in(said)

        try:
            tags, _ = await self._context.retried(once, ref)
        except RefusedError as error:
            message = f"the tags of {ref.uri} can't be read: {error} ({TAGS_HINT})"
            raise RefusedError(message, code=error.code, status=error.status) from error
        return tags

    async def _link(self, ref: ObjectRef) -> Link:
        assert self._presigner is not None  # noqa: S101 - the caller checked it
        try:
            await self._presigner.prepare([ref])
        except CredentialsError as error:
            raise LinkExpiredError(f"the tags of {ref.uri} can't be read: {error}", code="RenewalFailed") from error
        except InputError as error:
            raise RefusedError(f"the tags of {ref.uri} can't be read: {error}", code="NotSigned") from error
        return self._presigner.sign_batch([ref], "GET", query={"tagging": ""})[0]


def _tags_in(said: bytes) -> str:
    """The tags in a response, as the header of a PUT has them: `k=v&k2=v2`, quoted. Raises RefusedError."""
    try:
        found = ElementTree.fromstring(said)  # noqa: S314 - 64 KiB at most, and expat bounds what entities become
        tags = found.iterfind("{*}TagSet/{*}Tag")
        pairs = [(tag.findtext("{*}Key") or "", tag.findtext("{*}Value") or "") for tag in tags]
    except ElementTree.ParseError as error:
        raise RefusedError(f"the response with the tags is not XML: {error}", code="NotXML") from error
    return urlencode(pairs, quote_via=quote)
