"""Copies an object from a GET link to a PUT link: small ones through memory, others as a stream, large ones in parts.

The response to a plain GET tells everything that is needed: how large the object is, which digest its bytes have, and
the headers that its copy has too. They are signed into the PUT link just before it is sent.
"""

from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack
from functools import partial

import anyio
import msgspec

from bulkpresign.checksums import Hasher, base64_of, expected_digest, hasher
from bulkpresign.errors import MismatchError, RefusedError, TransferError
from bulkpresign.events import BytesMoved, ObjectRetried
from bulkpresign.http.client import DirectRequest
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.model import Evidence, Link, ObjectRef, Outcome, Upload
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.copies.body import HeldBody, RelayedBody, verify_held
from bulkpresign.transfer.copies.composite import (
    HELD_PARTS,
    LARGEST_HELD_PART,
    REFUSES_HEADERS,
    Composite,
    signed_composite,
)
from bulkpresign.transfer.copies.head import ObjectHead, is_copied_in_parts, whole_checksum_headers
from bulkpresign.transfer.copies.on_server import ServerParts, copy_headers, copy_on_server, is_unsupported
from bulkpresign.transfer.copies.parts import HeldObjectParts, ObjectParts
from bulkpresign.transfer.copies.plain import Begun, Held, PlainCopies
from bulkpresign.transfer.copies.proof import Copied, KeptChecksums, proof
from bulkpresign.transfer.copies.source import CHANGED, SourceReader
from bulkpresign.transfer.engine.jobs import Job, MultipartUpload, RenewableLink
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.retries import numbered
from bulkpresign.transfer.uploads.multipart import MultipartUploader, PartProgress, PartsSent
from bulkpresign.transfer.uploads.requests import without_condition
from bulkpresign.transfer.uploads.store import ANY_OBJECT, SentBody, Stored, signed_checksum, store

#: Larger objects are not held in memory, but sent on as they come.
HELD_BYTES = 256 * 1024


class _Write:
    """The write of a copy in one request, as far as it came.

    `refused` is the condition with which the destination refused it. `head` is that of the object, `etag` that of the
    bytes that were sent. `begun` is what the first attempt goes on with. `has_checksum` is True once the link was
    signed with the checksum of the object, which it is not if `keeps_checksum` is False.
    """

    __slots__ = ("begun", "etag", "has_checksum", "head", "keeps_checksum", "put", "refused")

    def __init__(self, put: Link, begun: Begun | None) -> None:
        self.put, self.begun = put, begun
        self.keeps_checksum, self.has_checksum = True, False
        self.refused: Mapping[str, str] = {}
        self.head: ObjectHead | None = None
        self.etag: str | None = None

    def found(self, ref: ObjectRef, etag: str) -> Copied:
        """The copy that is there already, with this etag."""
        if self.head is not None:
            return Copied(self.head.size or 0, etag, proof(self.head, etag, None, None))
        return _server_copy(ref, etag)


class Copier:
    """Copies objects from GET links to PUT links or multipart uploads.

    A PUT link is signed when the headers of its object are known, if the coordinator signs; else it is sent as it is.
    A copy in one request is attempted as a whole. The GET and its PUT take one slot of the limiter together, and hold
    at most HELD_BYTES, or one chunk of a stream; so does each part of a copy in parts. `part_size` is that of objects
    in parts, in bytes; None: see ObjectHead. With `on_server`, the server makes the copies, if it can. `digest` is the
    algorithm of a digest that is computed of the bytes of copies in one request: the parts of others come in any order.
    `plain` makes the first attempt where the server does not; None: the general path does. `checksums` are those that
    copies keep.
    """

    def __init__(
        self,
        context: TransferContext,
        coordinator: Coordinator,
        uploader: MultipartUploader,
        *,
        part_size: int | None,
        on_server: bool,
        checksums: KeptChecksums,
        digest: str | None = None,
        plain: PlainCopies | None = None,
    ) -> None:
        self._context, self._coordinator = context, coordinator
        self._uploader, self._part_size = uploader, part_size
        self._on_server, self._digest, self._plain = on_server, digest, plain
        self._checksums = checksums
        self._hold = anyio.Semaphore(HELD_PARTS)
        #: False once the destination gave an object in parts an etag that is not made of their md5s.
        self._etags_tell_bytes = True

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Copies the object of one job. Raises TransferError where it fails."""
        source, target = job.source, job.target
        assert isinstance(source, RenewableLink)  # noqa: S101 - as the dispatch has it
        assert isinstance(target, RenewableLink | MultipartUpload)  # noqa: S101 - likewise
        find_present = self._coordinator.find_present
        present = None if find_present is None else await find_present(source.link, target.object.key)
        if present is not None:
            return present
        reader = SourceReader(self._context, self._coordinator, renewer, source)
        if isinstance(target, MultipartUpload):
            head, _ = await self._context.retried(partial(_head, reader, source.object), source.object)
            return await self._in_parts(job, reader, renewer, head, target)
        begun: Begun | None = None
        if self._plain is not None and not self._on_server and job.checkpoint is None:
            copied = await self._plain.copy(source, target)
            if isinstance(copied, Copied):
                return _outcome(job, copied, 1)
            begun = copied
        found, attempts = await self._attempted(source, target, reader, renewer, begun)
        if isinstance(found, ObjectHead):
            head = await self._split(source.link, found)
            return await self._in_parts(job, reader, renewer, head, self._unopened(target, head))
        return _outcome(job, found, attempts)

    async def _attempted(
        self,
        source: RenewableLink,
        target: RenewableLink,
        reader: SourceReader,
        renewer: LinkRenewer,
        begun: Begun | None,
    ) -> tuple[Copied | ObjectHead, int]:
        """The copy in one request, or the head of an object that is to be copied in parts, and the attempts it took."""
        first = iter((begun,))
        sent = None if begun is None else begun.request

        def attempts(put: Link) -> Awaitable[tuple[Copied | ObjectHead, int]]:
            return self._context.retried(
                lambda: self._in_one_request(source.object, reader, put, next(first, None)), source.object, sent
            )

        try:
            return await renewer.call(target, attempts)
        finally:
            if sent is not None:
                sent.close()
                if sent.has_slot:  # the copy failed before it came to the request
                    self._context.limiter.release()

    async def _in_one_request(
        self, ref: ObjectRef, reader: SourceReader, put: Link, begun: Begun | None
    ) -> Copied | ObjectHead:
        """Copies an object in one request, again where its destination does not support the condition.

        Gives the head of one that is to be copied in parts.
        """
        guard, write = self._coordinator.guard, _Write(put, begun)
        try:
            return await self._made(ref, reader, write)
        except TransferError as error:
            if guard is None or not write.refused:
                raise
            etags = {ref.etag, write.etag, *([write.head.etag] if write.head else ())}
            async with guard.settled(put.object, write.refused, error, etags) as found:
                if found is None:
                    return await self._made(ref, reader, write)
                copied = write.found(ref, found)
                self._context.emit(BytesMoved(copied.size))
                return copied

    async def _made(self, ref: ObjectRef, reader: SourceReader, write: _Write) -> Copied | ObjectHead:
        """Copies an object in one request, again without its checksum where the destination refuses such headers."""
        try:
            return await self._on_server_or_relayed(ref, reader, write)
        except RefusedError as error:
            if not write.has_checksum or error.status not in REFUSES_HEADERS:
                raise
            refused = error
        write.keeps_checksum = write.has_checksum = False
        copied = await self._on_server_or_relayed(ref, reader, write)
        if not self._checksums.are_refused:
            self._checksums.are_refused = True
            message = f"{refused} (the server knows no checksums: this and all other copies are sent without)"
            self._context.emit(ObjectRetried(ref, refused.attempt, 0.0, refused.code, message))
        return copied

    def _condition(self, ref: ObjectRef) -> Mapping[str, str]:
        guard = self._coordinator.guard
        return {} if guard is None else guard.headers(ref)

    async def _on_server_or_relayed(self, ref: ObjectRef, reader: SourceReader, write: _Write) -> Copied | ObjectHead:
        sign, put = self._coordinator.sign_put, write.put
        if not self._on_server or sign is None:
            return await self._relayed(ref, reader, write)
        if ref.size is None:  # a row of a table may tell nothing of its object: neither its parts nor its etag
            write.head = await _head(reader, ref)
            ref = msgspec.structs.replace(ref, size=write.head.size, etag=write.head.etag)
        if is_copied_in_parts(ref, self._part_size):
            return write.head or await _head(reader, ref)
        condition = self._condition(put.object)
        try:
            link = await sign(put, {**copy_headers(ref, ref.etag), **condition})
            etag = await copy_on_server(self._context.http, link)
        except RefusedError as error:
            if is_unsupported(error):
                self._on_server = False
                return await self._relayed(ref, reader, write)
            write.refused = condition
            raise _at_target(error, put, {}) from error
        except MismatchError:  # a condition is not met: that of the source, or ours
            write.refused = condition
            raise
        self._context.emit(BytesMoved(ref.size or 0))
        return _server_copy(ref, etag)

    async def _relayed(self, ref: ObjectRef, reader: SourceReader, write: _Write) -> Copied | ObjectHead:
        """Copies an object in one request. Gives the head of one that is to be copied in parts."""
        context, can_split = self._context, self._coordinator.open_upload is not None
        begun, write.begun = write.begun, None
        if begun is not None and begun.held is not None:
            return await self._written(write, begun.held, begun.request)
        digest = None if self._digest is None else hasher(self._digest)
        async with AsyncExitStack() as stack:
            response = await reader.open(stack, sent=None if begun is None else begun.request)
            head = write.head = _head_of(ref, response)
            if can_split and head.part_size(self._part_size) is not None:
                return head
            if head.size is not None and head.size > HELD_BYTES:
                body = RelayedBody(
                    response, head.size, context.emit, context.limiter, expected=head.expected, second=digest
                )
                stored = await self._stored(write, head, body)
                return _copied(head, body, stored, body.verified_by, self._checksum(digest))
            data = await self._held(response)
        if digest is not None:
            digest.update(data)
        return await self._written(write, Held(head, data, verify_held(head.expected, data), self._checksum(digest)))

    async def _written(self, write: _Write, held: Held, sent: DirectRequest | None = None) -> Copied:
        """Writes an object from memory, by a request that may have been sent already."""
        write.head = held.head
        body = HeldBody(held.data, self._context.emit, held.head.expected)
        stored = await self._stored(write, held.head, body, sent)
        return _copied(held.head, body, stored, held.verified_by, held.checksum)

    def _checksum(self, digest: Hasher | None) -> str | None:
        return None if digest is None else f"{self._digest}:{base64_of(digest.digest())}"

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
        self, write: _Write, head: ObjectHead, body: HeldBody | RelayedBody, sent: DirectRequest | None = None
    ) -> Stored:
        """Sends the body, unless that was done. Raises TransferError, which names the destination."""
        sign, guard, put = self._coordinator.sign_put, self._coordinator.guard, write.put
        condition = self._condition(put.object)
        checksum = self._checksums.header(head) if write.keeps_checksum else {}
        try:
            link = put if sent is None else sent.link
            if sent is None and sign is not None:
                link = await sign(put, {**head.kept, **checksum, **condition})
            write.has_checksum = sign is not None and signed_checksum(link).algorithm is not None
            return await store(self._context.http, link, body, sent)
        except RefusedError as error:
            write.refused = condition
            if body.is_right:
                write.etag = (await body.md5()).hex()
            raise _at_target(error, put, head.kept if sign is not None else {}) from error
        except MismatchError:
            if guard is not None and body.is_right:  # the destination stored what it has got
                guard.wrote(put.object)
            raise

    async def _split(self, link: Link, head: ObjectHead) -> ObjectHead:
        """The head with the part size of an object that was uploaded in parts, as far as its server tells it."""
        ask = self._coordinator.ask_part_size
        return head if ask is None or head.structure.parts < 2 else head.split(await ask(link))

    def _unopened(self, target: RenewableLink, head: ObjectHead) -> MultipartUpload:
        """An upload that is opened when its first part is sent, with the headers and the part size of the object."""
        put, part_size = target.link, head.part_size(self._part_size)
        extra = {"part_size": part_size}
        ref = msgspec.structs.replace(put.object, size=head.size, extra={**(put.object.extra or {}), **extra})
        kind = _checksum_algorithm(head, self._composite_algorithm(head, part_size))
        headers = {**head.kept, **kind, **self._condition(put.object)}
        link = Link("PUT", put.url, headers, None, ref)
        return MultipartUpload(Upload(ref, "", (), link), target.renew)

    def _composite_algorithm(self, head: ObjectHead, part_size: int | None) -> str | None:
        """The algorithm of the checksum of parts that the copy has, None where it has none.

        Parts that pass here have to be held for it, and their links signed with their checksums.
        """
        is_held = part_size is not None and part_size <= LARGEST_HELD_PART
        can_keep = self._coordinator.sign_put is not None and (self._on_server or is_held)
        return head.composite_algorithm if can_keep else None

    def _parts(
        self, ref: ObjectRef, reader: SourceReader, head: ObjectHead, *, is_hashed: bool, composite: Composite | None
    ) -> ObjectParts | ServerParts:
        sign = self._coordinator.sign_put
        if self._on_server and sign is not None:
            return ServerParts(self._context, sign, ref, head, composite)
        if composite is not None and sign is not None:
            return HeldObjectParts(
                self._context, reader, head, compares_etags=is_hashed, composite=composite, hold=self._hold, sign=sign
            )
        return ObjectParts(self._context, reader, head, is_hashed=is_hashed, composite=composite)

    async def _in_parts(
        self, job: Job, reader: SourceReader, renewer: LinkRenewer, head: ObjectHead, target: MultipartUpload
    ) -> Outcome:
        """Copies an object in parts, each with its own attempts. If they are not the object, all are sent again."""
        attempts, checkpoint = self._context.attempts_of(job.object), job.checkpoint
        given = target.upload.parts
        part_size = given[0].size if given else head.part_size(self._part_size)
        # by the etag of the copy
        is_proven = head.is_split_known and part_size == head.structure.part_size and self._etags_tell_bytes
        while True:
            is_hashed, composite = attempts.number > 1 or not is_proven, signed_composite(given)
            if not given and (kept := self._composite_algorithm(head, part_size)) is not None:
                composite = Composite(kept)
            parts = self._parts(job.object, reader, head, is_hashed=is_hashed, composite=composite)
            progress = PartProgress(job.link, checkpoint, parts, self._context.emit)
            try:
                sent = await self._uploader.send(target, parts, progress, renewer)
                expected = expected_digest(ANY_OBJECT, sent.etag, sent.encryption)
                self._etags_tell_bytes &= expected.parts > 0 and sent.etag == sent.parts_etag
                self._check(parts, sent, head, target)
                break
            except MismatchError as error:
                if error.code == CHANGED:
                    raise
                if not self._condition(target.object):
                    target = _unconditional(target)
                if progress.point is not None:
                    progress.reset(progress.point)
                checkpoint = None
                delay = attempts.delay_after(error)
            await anyio.sleep(delay)
        etag = sent.etag if sent.verified_by is None else sent.parts_etag
        verified_by = proof(head, etag, parts.verified_by, sent.verified_by)
        if head.expected.checksum in {f"{algorithm}:{value}" for algorithm, value in sent.checksums.items()}:
            verified_by = head.expected.name  # computed by the server
        return _outcome(job, Copied(head.size or 0, sent.etag, verified_by), max(sent.attempts, attempts.number))

    def _check(
        self, parts: ObjectParts | ServerParts, sent: PartsSent, head: ObjectHead, target: MultipartUpload
    ) -> None:
        """Raises MismatchError where the etag or the checksum of an object that was completed is not the source's."""
        try:
            parts.check_etag(sent.parts_etag, sent.encryption)
            _check_checksum(head, sent)
            if parts.composite is not None:
                parts.composite.check(sent.checksums, sent.parts)
        except MismatchError:
            if self._coordinator.guard is not None:
                self._coordinator.guard.wrote(target.object)
            raise


def _unconditional(target: MultipartUpload) -> MultipartUpload:
    """The same upload without a condition: this run wrote what is there now."""
    upload = target.upload
    upload = msgspec.structs.replace(upload, complete=without_condition(upload.complete))
    return MultipartUpload(upload, target.renew)


def _server_copy(ref: ObjectRef, etag: str) -> Copied:
    """A copy that the server made, with this etag."""
    expected = expected_digest(ref)
    return Copied(ref.size or 0, etag, expected.name if etag == ref.etag else expected.size_name)


async def _head(reader: SourceReader, ref: ObjectRef) -> ObjectHead:
    async with AsyncExitStack() as stack:
        return _head_of(ref, await reader.open(stack))


def _head_of(ref: ObjectRef, response: Response) -> ObjectHead:
    return ObjectHead.of(ref, response.length, response.etag, response.headers)


def _copied(head: ObjectHead, body: SentBody, stored: Stored, verified_by: str | None, checksum: str | None) -> Copied:
    return Copied(body.size, stored.etag, proof(head, stored.etag, verified_by, stored.verified_by), checksum)


def _outcome(job: Job, copied: Copied, attempts: int) -> Outcome:
    evidence = Evidence(copied.size, 0, 0, copied.etag, copied.checksum)
    ref, link = job.object, job.link
    return Outcome(ref, "done", copied.size, attempts, copied.verified_by, link=link, evidence=evidence)


def _check_checksum(head: ObjectHead, sent: PartsSent) -> None:
    """Raises MismatchError where the copy has another checksum of the same kind: of all bytes, or of the same parts."""
    expected = head.expected
    found = sent.checksums.get(expected.algorithm or "")
    if expected.checksum is None or found is None:
        return
    is_same_kind = "-" not in found
    if expected.parts:
        is_same_kind = (expected.parts, expected.part_size) == (sent.parts, sent.part_size)
    value = expected.shown(expected.digest)
    if is_same_kind and found != value:
        message = f"the copy has {expected.algorithm} {found}, the object {value}"
        raise MismatchError(message, code="ChecksumMismatch")


def _checksum_algorithm(head: ObjectHead, composite: str | None) -> Mapping[str, str]:
    """The headers with which an upload in parts has the kind of checksum that the object has, such as a `composite`."""
    if composite is not None:
        return {"x-amz-checksum-algorithm": composite.upper(), "x-amz-checksum-type": "COMPOSITE"}
    return whole_checksum_headers(head.expected)


def _at_target(error: RefusedError, put: Link, kept: Mapping[str, str]) -> TransferError:
    """The same error, with the destination, and the headers of the object that it may have refused."""
    message = f"{put.object.uri}: {error}"
    if kept and error.status in REFUSES_HEADERS:
        message += f" (the copy has these headers of the object: {', '.join(kept)})"
    return numbered(RefusedError(message, code=error.code, status=error.status), error.attempt)
