"""Small objects from one response into one request, without the steps of the general path.

Each side is a request and a whole response (`HttpClient.send_each`), which is handled within the callbacks that bring
it. Whatever is not plain is left to the general path, together with the request that was sent: nothing is asked twice.
"""

import time
from collections.abc import Mapping

import msgspec

from bulkpresign.checksums import base64_of, digest_of
from bulkpresign.errors import TransferError
from bulkpresign.events import BytesMoved
from bulkpresign.http.callback_connection import MAX_WHOLE_BODY, HandlerSteps, ResponseHandler
from bulkpresign.http.client import DirectRequest
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import Chunk
from bulkpresign.http.protocol import ResponseParser
from bulkpresign.http.response import etag_of
from bulkpresign.http.s3_errors import check_is_of_s3
from bulkpresign.model import Link, ObjectRef
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.copies.body import verify_held
from bulkpresign.transfer.copies.head import ObjectHead
from bulkpresign.transfer.copies.proof import Copied, digest_header, proof
from bulkpresign.transfer.copies.settings import CopySettings
from bulkpresign.transfer.engine.jobs import RenewableLink
from bulkpresign.transfer.engine.plain_jobs import ExpiryMargin
from bulkpresign.transfer.uploads.store import STORED, md5_header, signed_checksum, upload_headers, verified_by_answer


class Held(msgspec.Struct, frozen=True, gc=False):
    """An object in memory: its head, its bytes, and the name of what verified them.

    `checksum` is the one that is wanted beside that, as `algorithm:base64`.
    """

    head: ObjectHead
    data: bytes
    verified_by: str | None
    checksum: str | None


class Begun(msgspec.Struct, gc=False):
    """A copy that the general path goes on with.

    `request` was sent in a slot of the limiter: the GET, or the PUT where the object is `held` already. None: the PUT
    could not be sent.
    """

    request: DirectRequest | None
    held: Held | None = None


class PlainCopies:
    """Copies of objects of at most 256 KiB."""

    def __init__(
        self,
        context: TransferContext,
        coordinator: Coordinator,
        clock: Clock,
        settings: CopySettings,
    ) -> None:
        self._context, self._coordinator, self._clock = context, coordinator, clock
        self._settings = settings
        self._ends_soon = ExpiryMargin(clock)

    async def copy(self, source: RenewableLink, target: RenewableLink) -> Copied | Begun | None:
        """Copies one object. Gives what the general path goes on with instead; None if nothing was sent."""
        get, put = source.link, target.link
        http, limiter = self._context.http, self._context.limiter
        request = http.plain_request(get) if http.can_send_each and self._is_plain(get, put) else None
        if request is None:
            return None
        taken: list[Held] = []
        await limiter.acquire()
        result: Copied | Begun | None = None
        try:
            sent = await http.send_each(get, request, self._object_handler(get, taken))
            result = await self._sent_on(put, taken[0]) if sent is None else Begun(sent)
        finally:
            if isinstance(result, Begun) and result.request is not None:
                result.request.has_slot = True
            else:
                limiter.release()
        return result

    def _is_plain(self, get: Link, put: Link) -> bool:
        """True for links that can be sent now, and a row that tells no large object."""
        now, size = time.monotonic(), get.object.size
        if get.method != "GET" or (size is not None and size > MAX_WHOLE_BODY) or self._ends_soon(get, now):
            return False
        if self._coordinator.sign_put is not None:
            return True
        return put.method == "PUT" and not self._ends_soon(put, now) and signed_checksum(put).algorithm is None

    def _object_handler(self, get: Link, taken: list[Held]) -> ResponseHandler:
        """Takes the object from the response to its GET, if it is a small one that can be verified at once."""

        def handle(response: ResponseParser, body: Chunk, latency: float) -> HandlerSteps:
            held = self._held(get, response, body)
            if held is None:
                return None
            yield
            self._context.limiter.responded(response.status, latency, len(body))
            taken.append(held)
            return b""

        return handle

    def _held(self, get: Link, response: ResponseParser, body: Chunk) -> Held | None:
        if not self._clock.is_set:
            self._clock.learn(response.headers.get("date"), get.url)
        if response.status != 200 or len(body) > MAX_WHOLE_BODY:
            return None
        try:
            head = ObjectHead.of(get, response.length, etag_of(response.headers, get), response.headers)
            if self._coordinator.open_upload is not None and head.part_size(self._settings.part_size) is not None:
                return None
            data = bytes(body)
            verified_by = verify_held(head.expected, data)
        except TransferError:  # the general path meets it as well, and tries again
            return None
        return Held(head, data, verified_by, self._checksum(data))

    def _checksum(self, data: bytes) -> str | None:
        algorithm = self._settings.digest
        return None if algorithm is None else f"{algorithm}:{base64_of(digest_of(algorithm, data))}"

    async def _sent_on(self, put: Link, held: Held) -> Copied | Begun:
        """Sends an object to its destination."""
        http, sign = self._context.http, self._coordinator.sign_put
        if held.head.has_tags and self._settings.takes_tags is not False and self._coordinator.read_tags is not None:
            return Begun(None, held)
        try:
            link = put if sign is None else await sign(put, self._headers(put.object, held))
            request = http.plain_request(link, upload_headers(link, len(held.data)), held.data)
        except TransferError:
            return Begun(None, held)
        if request is None:
            return Begun(None, held)
        copies: list[Copied] = []

        def handle(response: ResponseParser, body: Chunk, latency: float) -> HandlerSteps:
            copied = None if response.status not in STORED or len(body) else _copied(held, link, response)
            if copied is None:
                return None
            yield
            self._context.limiter.responded(response.status, latency, len(held.data))
            copies.append(copied)
            return b""

        sent = await http.send_each(link, request, handle)
        if sent is not None:
            sent.link = link
            return Begun(sent, held)
        self._context.emit(BytesMoved(len(held.data)))
        return copies[0]

    def _headers(self, ref: ObjectRef, held: Held) -> Mapping[str, str]:
        digest = digest_header(held.head, self._settings)
        if digest is None:
            digest = md5_header(digest_of("md5", held.data))
        return {**held.head.kept, **digest, **self._coordinator.condition(ref)}


def _copied(held: Held, link: Link, response: ResponseParser) -> Copied | None:
    """The copy, by the response to its PUT; None where the destination stored other bytes, or none."""
    headers = response.headers
    head, etag = held.head, etag_of(headers, link)
    if head.structure.algorithm is not None and etag == head.etag:  # no need to compute the md5
        return Copied(len(held.data), etag, head.structure.name, held.checksum, head.loses_tags(link))
    try:
        if etag is None:
            check_is_of_s3(response.status, headers, link)
        target = verified_by_answer(signed_checksum(link), etag, headers, held.data)
    except TransferError:  # the general path finds it as well
        return None
    verified_by = proof(head, etag, held.verified_by, target)
    return Copied(len(held.data), etag, verified_by, held.checksum, head.loses_tags(link))
