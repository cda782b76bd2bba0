"""The tags of objects, for their copies.

Source: docs "GetObjectTagging", "PutObjectTagging", "PutObject".
"""

from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl, quote, urlencode
from xml.etree import ElementTree

import msgspec

from bulkpresign.checksums import digest_of
from bulkpresign.errors import CredentialsError, InputError, LinkExpiredError, RefusedError, TransferError
from bulkpresign.model import BatchMethod, Link, ObjectRef, ResumePoint, Upload
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.copies.on_server import SOURCE
from bulkpresign.transfer.copies.tags import REFUSES_TAGS, TAGGING, TAGS_HINT, tagged_object
from bulkpresign.transfer.uploads.store import md5_header

OpenUpload = Callable[[Upload, ResumePoint | None, Mapping[int, str]], Awaitable[Upload]]
_DIRECTIVE = "x-amz-tagging-directive"
_QUERY = {"tagging": ""}


class ObjectTags:
    """Reads and writes the tags of objects, in the form of the header of a PUT: `k=v&k2=v2`, quoted."""

    def __init__(self, presigner: Presigner, context: TransferContext) -> None:
        self._presigner, self._context = presigner, context

    async def read(self, ref: ObjectRef) -> str:
        """The tags of an object. Raises TransferError."""
        try:
            return _tags_in(await self._asked(ref, "GET"))
        except RefusedError as error:
            message = f"the tags of {ref.uri} can't be read: {error} ({TAGS_HINT})"
            raise RefusedError(message, code=error.code, status=error.status) from error

    async def write(self, ref: ObjectRef, tags: str) -> None:
        """Replaces the tags of an object. Raises TransferError."""
        await self._asked(ref, "PUT", _document_of(tags))

    async def _asked(self, ref: ObjectRef, method: BatchMethod, body: bytes | None = None) -> bytes:
        async def once() -> bytes:
            link = await self._link(ref, method, {} if body is None else md5_header(digest_of("md5", body)))
            async with self._context.http.request(link, body=body) as response:
                said = await response.read()
                if response.status not in {200, 204}:
                    raise await response.error(link, said)
            return said

        said, _ = await self._context.retried(once, ref)
        return said

    async def _link(self, ref: ObjectRef, method: BatchMethod, headers: Mapping[str, str]) -> Link:
        try:
            await self._presigner.prepare([ref])
        except CredentialsError as error:
            raise LinkExpiredError(
                f"the tags of {ref.uri} can't be asked for: {error}", code="RenewalFailed"
            ) from error
        except InputError as error:
            raise RefusedError(str(error), code="NotSigned") from error
        return self._presigner.sign_batch([ref], method, headers=headers, query=_QUERY)[0]


class CopiedTags:
    """Gives copies the tags of their objects, which are read from `source` (None: copies have no tags).

    All copies have the tags `replaced_by` instead, where these are given: they are signed into the links anyway.
    """

    def __init__(self, source: ObjectTags | None, destination: ObjectTags, replaced_by: str | None) -> None:
        self._source, self._destination, self._replaced_by = source, destination, replaced_by

    async def in_headers(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The headers with the tags of the object that they name: see `transfer.copies.tags`.

        Raises TransferError where the tags can't be read.
        """
        ref = tagged_object(headers)
        if ref is not None:
            tags = "" if self._source is None or self._replaced_by is not None else await self._source.read(ref)
            rest = {name: value for name, value in headers.items() if name != TAGGING}
            return {**rest, TAGGING: tags} if tags else rest
        if self._source is None and SOURCE in headers and f"{SOURCE}-range" not in headers:
            return {**headers, _DIRECTIVE: "REPLACE"}  # else the server copies them
        return headers

    def opening(self, open_upload: OpenUpload) -> OpenUpload:
        """A function that opens an upload with the tags of its object."""

        async def opened(upload: Upload, known: ResumePoint | None, kept: Mapping[int, str]) -> Upload:
            link = upload.complete
            headers = await self.in_headers(link.headers)
            tagged = msgspec.structs.replace(upload, complete=msgspec.structs.replace(link, headers=headers))
            try:
                return await open_upload(tagged, known, kept)
            except RefusedError as error:
                if TAGGING not in headers or error.status not in REFUSES_TAGS:
                    raise
                raise RefusedError(f"{error} ({TAGS_HINT})", code=error.code, status=error.status) from error

        return opened

    async def settle(self, copy: ObjectRef, kept: Mapping[str, str]) -> bool:
        """Gives a copy in parts its tags, if the server lost them, as Ceph does. False for a copy that lacks them.

        `kept` are the headers of its object.
        """
        ref = tagged_object(kept)
        if self._replaced_by is None and (ref is None or self._source is None):
            return ref is None
        try:
            wanted = self._replaced_by
            if wanted is None:
                assert ref is not None and self._source is not None  # noqa: S101 - see above
                wanted = await self._source.read(ref)
            if _pairs(await self._destination.read(copy)) != _pairs(wanted):
                await self._destination.write(copy, wanted)
        except TransferError:
            return False
        return True


def _pairs(tags: str) -> list[tuple[str, str]]:
    return sorted(parse_qsl(tags, keep_blank_values=True))


def _tags_in(said: bytes) -> str:
    """The tags in a response. Raises RefusedError for what is no such response."""
    if not said.strip():  # Ceph, for an object that was uploaded in parts and has none
        return ""
    try:
        found = ElementTree.fromstring(said)  # noqa: S314 - 64 KiB at most, and expat bounds what entities become
        tags = found.iterfind("{*}TagSet/{*}Tag")
        pairs = [(tag.findtext("{*}Key") or "", tag.findtext("{*}Value") or "") for tag in tags]
    except ElementTree.ParseError as error:
        raise RefusedError(f"the response is not XML: {error}", code="NotXML") from error
    return urlencode(pairs, quote_via=quote)


def _document_of(tags: str) -> bytes:
    """The body of a request that replaces tags."""
    document = ElementTree.Element("Tagging", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    found = ElementTree.SubElement(document, "TagSet")
    for key, value in _pairs(tags):
        tag = ElementTree.SubElement(found, "Tag")
        ElementTree.SubElement(tag, "Key").text = key
        ElementTree.SubElement(tag, "Value").text = value
    return ElementTree.tostring(document)
