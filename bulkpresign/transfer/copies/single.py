"""Copies in one request: the server makes them, or small objects pass through memory, and larger ones as a stream."""

from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from functools import partial

import msgspec

from bulkpresign.checksums import CHANGED, Hasher, base64_of, expected_digest, hasher
from bulkpresign.errors import MismatchError, RefusedError, TransferError
from bulkpresign.events import BytesMoved, ObjectRetried
from bulkpresign.http.client import DirectRequest
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.http.s3_errors import NO_DIGEST
from bulkpresign.model import Link, ObjectRef
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.copies.body import HeldBody, RelayedBody, md5_of, verify_held
from bulkpresign.transfer.copies.head import ObjectHead, is_copied_in_parts
from bulkpresign.transfer.copies.on_server import copy_headers, copy_on_server, is_unsupported, with_rights_hint
from bulkpresign.transfer.copies.plain import Begun, Held
from bulkpresign.transfer.copies.proof import Copied, digest_header, proof
from bulkpresign.transfer.copies.settings import CopySettings
from bulkpresign.transfer.copies.source import SourceReader
from bulkpresign.transfer.copies.tags import signs_tags, with_tags_hint
from bulkpresign.transfer.engine.jobs import RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.retries import numbered
from bulkpresign.transfer.uploads.store import (
    REFUSES_HEADERS,
    SentBody,
    Stored,
    md5_header,
    signed_checksum,
    store,
)

#: Larger objects are not held in memory, but sent on as they come.
HELD_BYTES = 256 * 1024


class SingleCopies:
    """Copies objects in one request each.

    A copy is attempted as a whole. The GET and its PUT take one slot of the limiter together, and hold at most
    HELD_BYTES, or one chunk of a stream.
    """

    def __init__(self, context: TransferContext, coordinator: Coordinator, settings: CopySettings) -> None:
        self._context, self._coordinator, self._settings = context, coordinator, settings

    async def copy(
        self, reader: SourceReader, renewer: LinkRenewer, target: RenewableLink, begun: Begun | None
    ) -> tuple[Copied | ObjectHead, int]:
        """The copy, or the head of an object that is to be copied in parts, and the number of attempts.

        The first attempt goes on with what was `begun`. Raises TransferError.
        """
        first = iter((begun,))
        sent = None if begun is None else begun.request

        async def attempt(put: Link) -> Copied | ObjectHead:
            context, begun = self._context, next(first, None)
            return await _SingleCopy(context, self._coordinator, self._settings, reader, put, begun=begun).run()

        def attempts(put: Link) -> Awaitable[tuple[Copied | ObjectHead, int]]:
            return self._context.retried(partial(attempt, put), reader.object, sent)

        try:
            return await renewer.call(target, attempts)
        finally:
            if sent is not None:
                sent.close()
                if sent.has_slot:  # the copy failed before it came to the request
                    self._context.limiter.release()


class _SingleCopy:
    """One attempt of a copy: a GET and a PUT, and both again where the destination refuses the headers of the PUT.

    It may know no conditions and no checksums, and it may take nothing without a digest.
    """

    def __init__(
        self,
        context: TransferContext,
        coordinator: Coordinator,
        settings: CopySettings,
        reader: SourceReader,
        put: Link,
        *,
        begun: Begun | None,
    ) -> None:
        self._context, self._coordinator, self._settings = context, coordinator, settings
        self._reader, self._put, self._begun = reader, put, begun
        self._keeps_checksum = True
        #: True once the link was signed with the checksum of the object.
        self._has_checksum = False
        #: True once the destination refused the copy for its lack of a digest.
        self._lacked_digest = False
        #: The condition with which the destination refused the copy.
        self._refused: Mapping[str, str] = {}
        self._head: ObjectHead | None = None
        #: The etag of the bytes that were sent, once it is known.
        self._etag: str | None = None
        #: True once the link was signed without the tags of the object, which has some.
        self._lacks_tags = False

    async def run(self) -> Copied | ObjectHead:
        """The copy, or the head of an object that is to be copied in parts. Raises TransferError."""
        guard = self._coordinator.guard
        try:
            return await self._made()
        except TransferError as error:
            if guard is None or not self._refused:
                raise
            head = self._head
            is_same = head is not None and head.expected.changed is None
            etags = {self._reader.object.etag, self._etag, *([head.etag] if head is not None and is_same else ())}
            async with guard.settled(self._put.object, self._refused, error, etags) as found:
                if found is None:
                    return await self._made()
                copied = self._there(found)
                self._context.emit(BytesMoved(copied.size))
                return copied

    async def _made(self) -> Copied | ObjectHead:
        """The copy, made again without its checksum where the destination refuses such headers, or with its md5."""
        try:
            return await self._with_digest()
        except RefusedError as error:
            if not self._has_checksum or error.status not in REFUSES_HEADERS:
                raise
            refused = error
        self._keeps_checksum = self._has_checksum = False
        copied = await self._with_digest()
        if self._settings.keeps_checksums:
            self._settings.keeps_checksums = False
            message = f"{refused} (the server knows no checksums: this and all other copies are sent without)"
            self._context.emit(ObjectRetried(self._reader.object, refused.attempt, 0.0, refused.code, message))
        return copied

    async def _with_digest(self) -> Copied | ObjectHead:
        """The copy, made again with its md5 where the destination takes nothing without a digest."""
        try:
            return await self._on_server_or_relayed()
        except RefusedError as error:
            if self._lacked_digest or self._coordinator.sign_put is None or error.code != NO_DIGEST:
                raise
            self._lacked_digest = True
            self._settings.learn_md5(self._reader.object, error, self._context.emit)
        return await self._on_server_or_relayed()

    def _there(self, etag: str) -> Copied:
        """The copy that is there already, with this etag."""
        if self._head is not None:
            head = self._head
            verified_by, lacks_tags = proof(head, etag, None, None), head.has_unknown_tags
            return Copied(head.size or 0, etag, verified_by, lacks_tags=lacks_tags, tags=head.tags, may_lack_tags=True)
        return _server_copy(self._reader.object, etag)

    async def _on_server_or_relayed(self) -> Copied | ObjectHead:
        sign = self._coordinator.sign_put
        if not self._settings.on_server or sign is None:
            return await self._relayed()
        ref, put = self._reader.object, self._put
        if ref.size is None:  # a row of a table may tell nothing of its object: neither its parts nor its etag
            self._head = await self._reader.head()
            ref = msgspec.structs.replace(ref, size=self._head.size, etag=ref.etag or self._head.etag)
        if is_copied_in_parts(ref, self._settings.part_size):
            return self._head or await self._reader.head()
        condition = self._coordinator.condition(put.object)
        try:
            link = await sign(put, {**copy_headers(ref, ref.etag), **condition})
            etag = await copy_on_server(self._context.http, link)
        except RefusedError as error:
            if is_unsupported(error):
                self._settings.on_server = False
                return await self._relayed()
            self._refused = condition
            raise _at_target(with_rights_hint(error), put, {}) from error
        except MismatchError:  # a condition is not met: that of the source, or ours
            self._refused = condition
            raise
        self._context.emit(BytesMoved(ref.size or 0))
        return _server_copy(ref, etag)

    async def _relayed(self) -> Copied | ObjectHead:
        """Sends the object on, unless it is to be copied in parts."""
        settings, can_split = self._settings, self._coordinator.open_upload is not None
        begun, self._begun = self._begun, None
        if begun is not None and begun.held is not None:
            return await self._written(begun.held, begun.request)
        async with AsyncExitStack() as stack:
            response = await self._reader.open(stack, sent=None if begun is None else begun.request)
            head = self._head = self._reader.head_of(response)
            if can_split and head.part_size(settings.part_size) is not None:
                return head
            if head.size is not None and head.size > HELD_BYTES:
                return await self._relayed_stream(response, head, head.size)
            data = await self._held(response)
        digest = self._hasher()
        if digest is not None:
            digest.update(data)
        return await self._written(Held(head, data, verify_held(head.expected, data), self._checksum(digest)))

    async def _relayed_stream(self, response: Response, head: ObjectHead, size: int) -> Copied:
        """Sends the body of a response on as it comes; that of a second one where the md5 has to be known before."""
        if self._coordinator.sign_put is None or self._digest_header(head) is not None:
            return await self._streamed(response, head, size)
        md5 = await md5_of(response, size, self._context.limiter)
        async with AsyncExitStack() as stack:
            again = await self._reader.open(stack, head.condition)
            return await self._streamed(again, self._reader.head_of(again), size, md5)

    async def _streamed(self, response: Response, head: ObjectHead, size: int, md5: bytes | None = None) -> Copied:
        """Sends the body of a response on as it comes. `md5` is that of its bytes, where it has to be sent."""
        context, digest = self._context, self._hasher()
        head = self._head = await self._reader.with_tags(head)
        body = RelayedBody(response, size, context.emit, context.limiter, expected=head.expected, second=digest)
        stored = await self._stored(head, body, md5=md5)
        return self._copied(head, body, stored, body.verified_by, self._checksum(digest))

    async def _written(self, held: Held, sent: DirectRequest | None = None) -> Copied:
        """Writes an object from memory, by a request that may have been sent already."""
        head = self._head = held.head if sent is not None else await self._reader.with_tags(held.head)
        body = HeldBody(held.data, self._context.emit, head.expected)
        stored = await self._stored(head, body, sent)
        return self._copied(head, body, stored, held.verified_by, held.checksum)

    def _copied(
        self, head: ObjectHead, body: SentBody, stored: Stored, verified_by: str | None, checksum: str | None
    ) -> Copied:
        verified_by = proof(head, stored.etag, verified_by, stored.verified_by)
        return Copied(body.size, stored.etag, verified_by, checksum, self._lacks_tags, head.tags)

    def _digest_header(self, head: ObjectHead) -> Mapping[str, str] | None:
        return digest_header(head, self._settings, keeps_checksum=self._keeps_checksum)

    def _hasher(self) -> Hasher | None:
        """Computes the digest of a certificate, None without one."""
        return None if self._settings.digest is None else hasher(self._settings.digest)

    def _checksum(self, digest: Hasher | None) -> str | None:
        return None if digest is None else f"{self._settings.digest}:{base64_of(digest.digest())}"

    async def _held(self, response: Response) -> bytes:
        """The bytes of a small object."""
        data, limiter = bytearray(), self._context.limiter
        last = 0

        def take(chunk: Chunk) -> bool:
            nonlocal last
            last = len(chunk)
            data.extend(chunk)
            return limiter.limits_rate or len(data) > HELD_BYTES

        while await response.stream_to(take):
            if len(data) > HELD_BYTES:
                raise RefusedError("the server does not tell how large the object is", code="NoLength")
            await limiter.throttle(last)
        return bytes(data)

    async def _stored(
        self,
        head: ObjectHead,
        body: HeldBody | RelayedBody,
        sent: DirectRequest | None = None,
        md5: bytes | None = None,
    ) -> Stored:
        """Sends the body, unless that was done. Raises TransferError, which names the destination.

        `md5` is that of a body that is not in memory, where it is needed and the object does not tell it.
        """
        sign, guard, put = self._coordinator.sign_put, self._coordinator.guard, self._put
        condition = self._coordinator.condition(put.object)
        try:
            link = put if sent is None else sent.link
            if sent is None and sign is not None:
                digest = self._digest_header(head)
                if digest is None:
                    digest = md5_header(md5 or await body.md5())
                link = await sign(put, {**head.headers, **digest, **condition})
            self._lacks_tags = head.loses_tags(link)
            self._has_checksum = sign is not None and signed_checksum(link).algorithm is not None
            return await store(self._context.http, link, body, sent)
        except RefusedError as error:
            if error.code == CHANGED:  # found at the source
                raise
            self._refused = condition
            if body.is_right:
                self._etag = (await body.md5()).hex()
            refused = _at_target(error, put, head.headers if sign is not None else {})
            raise with_tags_hint(refused, has_tags=bool(head.tags) or signs_tags(put)) from error
        except MismatchError:
            if guard is not None and body.is_right:  # the destination stored what it has got
                guard.wrote(put.object)
            raise


def _server_copy(ref: ObjectRef, etag: str) -> Copied:
    """A copy that the server made, with this etag."""
    expected = expected_digest(ref)
    return Copied(ref.size or 0, etag, expected.name if etag == ref.etag else expected.size_name)


def _at_target(error: RefusedError, put: Link, kept: Mapping[str, str]) -> RefusedError:
    """The same error, with the destination, and the headers of the object that it may have refused."""
    message = f"{put.object.uri}: {error}"
    if kept and error.status in REFUSES_HEADERS:
        message += f" (the copy has these headers of the object: {', '.join(kept)})"
    return numbered(RefusedError(message, code=error.code, status=error.status), error.attempt)
