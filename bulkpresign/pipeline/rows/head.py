"""sign --head: every object is asked for once, by a HEAD through a link of our own, before its link is signed.

A HEAD tells size, etag, content type, time and, where it is asked for by a signed header, the checksum. Workers ask for
many objects at a time; what they find is passed on in the order of the input.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
import msgspec

from bulkpresign.errors import LinkExpiredError, RefusedError, TransferError
from bulkpresign.events import Listener, ObjectFinished
from bulkpresign.http.client import HttpClient, Transport
from bulkpresign.http.s3_errors import check_is_of_s3
from bulkpresign.model import Link, Method, ObjectRef, Outcome
from bulkpresign.pipeline.rows.head_response import (
    HEAD_COLUMNS,
    asked_parts,
    first_part_size,
    parts_count,
    with_head_response,
)
from bulkpresign.pipeline.run.descriptors import affordable_objects
from bulkpresign.pipeline.run.object_tags import ask_tags, link_for_tags
from bulkpresign.pipeline.sources.given_rows import Row, object_of
from bulkpresign.signing.options import OVERRIDES, PAYER, LinkOptions
from bulkpresign.signing.preserved import without_response_overrides
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.downloads.responses import CHECKSUM_MODE, UNKNOWN_HEADER, without_checksum_mode
from bulkpresign.transfer.engine.breaker import CircuitBreaker
from bulkpresign.transfer.engine.controller import ConcurrencyController
from bulkpresign.transfer.engine.limiter import RequestLimiter
from bulkpresign.transfer.engine.pool import WorkerPool

__all__ = ["HEAD_COLUMNS", "MISSING", "Heads", "asking_heads"]

#: Requests in flight at most, where the run finds their number.
MAX_CONCURRENCY = 1024
#: The codes of objects that are not there.
MISSING = frozenset({"NoSuchKey", "NoSuchVersion"})
#: Seconds that the links of HEAD requests live.
_EXPIRES_IN = 3600
#: The most objects that are read and not passed on, because an earlier one is slow.
_MOST_HELD = 8192

#: Receives existing objects (or their old links) with their HEAD attributes, in order.
BatchCallback = Callable[[Sequence[Row]], Awaitable[None]]
#: Adds to an object, which has its HEAD attributes, more columns by the headers of the response.
AddColumns = Callable[[ObjectRef, Mapping[str, str]], Awaitable[ObjectRef]]

_WELL = Outcome(ObjectRef("", ""), "done")


@asynccontextmanager
async def asking_heads(
    presigner: Presigner,
    concurrency: int | None,
    options: LinkOptions,
    ca_bundle: str | None,
    emit: Listener,
    *,
    transport: Transport = "auto",
) -> "AsyncIterator[Heads]":
    """HEAD requests on connections of their own. `options` are those of the run; `emit` gets failures and retries.

    `concurrency` requests are in flight; None: as many as are found to be fastest.
    """
    async with HttpClient(concurrency or MAX_CONCURRENCY, ca_bundle=ca_bundle, transport=transport) as http:
        yield Heads(presigner, http, concurrency, options, emit)


class _Batch(msgspec.Struct):
    """A batch: its items, their HEAD links, the results (None: pending or failed), and the number pending."""

    items: Sequence[Row]
    links: Sequence[Link]
    found: list[Row | None]
    left: int


class Heads:
    """Sends HEAD requests, `concurrency` at a time, and fills in the attributes of their objects."""

    def __init__(
        self, presigner: Presigner, http: HttpClient, concurrency: int | None, options: LinkOptions, emit: Listener
    ) -> None:
        most = min(affordable_objects() or MAX_CONCURRENCY, MAX_CONCURRENCY)
        limiter = RequestLimiter(ConcurrencyController(maximum=most, fixed=concurrency))
        http.on_response = limiter.responded
        self._presigner = presigner
        self.context = TransferContext(http, emit, limiter)
        self._concurrency = concurrency
        self._options = LinkOptions(
            checksum_mode="ENABLED", request_payer=options.request_payer, sse_customer_key=options.sse_customer_key
        )
        #: False once the server has turned out to refuse the header that asks for a checksum.
        self._asks_checksums = True
        #: True if the size of the parts of an object is asked for as well.
        self.asks_part_sizes = True
        #: Called for each object that exists.
        self.add_columns: AddColumns | None = None
        self._breaker = CircuitBreaker(stops_denied=False)  # S3 may deny a key that is missing
        self._buckets: set[str] = set()  # buckets that exist

    async def run(self, batches: AsyncIterator[Sequence[Row]], take: BatchCallback) -> None:
        """Sends a HEAD request for each object. Raises BreakerError if all fail the same way."""
        window = _Window(batches, self._asking, take)

        async def worker(is_needed: Callable[[], bool]) -> bool:
            while (next_one := await window.next()) is not None:
                batch, index = next_one
                batch.found[index] = await self._found(batch.items[index], batch.links[index])
                await window.finished(batch)
                if not is_needed():
                    return False
            return True

        limiter = self.context.limiter
        most = self._concurrency or limiter.controller.maximum
        await WorkerPool(limiter, most, worker, is_fixed=self._concurrency is not None).run()

    async def read_tags(self, ref: ObjectRef) -> str | None:
        """The tags of an object, see `ask_tags`. Raises TransferError."""
        payer = self._options.request_payer
        link = await link_for_tags(self._presigner, ref, query={} if payer is None else {PAYER: payer})
        tags, _ = await self.context.retried(partial(ask_tags, self.context.http, link, ref.size), ref)
        return tags

    async def _found(self, item: Row, link: Link) -> Row | None:
        """The item with its HEAD attributes. None if the request failed; the failure is emitted."""
        try:
            length, headers = await self._response(item, link)
            count = parts_count(headers)
            part_size = await self._part_size(item, count, length) if count and self.asks_part_sizes else None
            found = with_head_response(object_of(item), length, headers, part_size)
            if self.add_columns is not None:
                found = await self.add_columns(found, headers)
        except TransferError as error:
            ref = object_of(item)
            old = item if isinstance(item, Link) else link
            outcome = Outcome(ref, "failed", attempts=error.attempt, code=error.code, message=str(error), link=old)
            self.context.emit(ObjectFinished(outcome))
            self._breaker.record([outcome])
            return None
        self._breaker.record([_WELL])
        if isinstance(item, Link):
            return Link(item.method, item.url, item.headers, None, found)
        return found

    async def _response(self, item: Row, link: Link) -> tuple[int | None, Mapping[str, str]]:
        ref = object_of(item)
        if not self._asks_checksums and CHECKSUM_MODE in link.headers:  # it was signed before
            (link,) = self._asking([item])
        try:
            return (await self.context.retried(lambda: self._head(link), ref))[0]
        except (RefusedError, LinkExpiredError) as refused:
            if (found := await self._without_checksum(item, link, refused)) is not None:
                return found
            error = await self._why(item, refused)
        if not isinstance(error, LinkExpiredError):
            raise error
        await self._presigner.prepare([ref])  # the credentials have expired
        (fresh_link,) = self._asking([item])
        return (await self.context.retried(lambda: self._head(fresh_link), ref))[0]

    async def _without_checksum(
        self, item: Row, link: Link, refused: TransferError
    ) -> tuple[int | None, Mapping[str, str]] | None:
        """The response of a server that refused to be asked for a checksum. None where that is not why."""
        if refused.status not in UNKNOWN_HEADER or CHECKSUM_MODE not in link.headers:
            return None
        (bare,) = self._asking([item], asks_checksums=False)
        try:
            found, _ = await self.context.retried(lambda: self._head(bare), link.object)
        except TransferError:
            return None
        self._asks_checksums = False
        return found

    async def _head(self, link: Link) -> tuple[int | None, Mapping[str, str]]:
        async with self.context.http.request(link) as response:
            if response.status not in {200, 206}:
                raise await response.error(link)
            check_is_of_s3(response.status, response.headers, link)
            return response.length, response.headers

    async def _part_size(self, item: Row, count: int, size: int | None) -> int | None:
        """The size of all parts but the last, None if unknown. A server may ignore `partNumber` and send all bytes."""
        if count == 1 or size is None:
            return size
        part_size = None
        for number in asked_parts(count):
            (link,) = self._asking([item], {"partNumber": f"{number}"})
            try:
                (length, headers), _ = await self.context.retried(partial(self._head, link), link.object)
            except TransferError:
                return None
            found = first_part_size(length, headers, size, count)
            if found is None or found != (part_size or found):
                return None
            part_size = found
        return part_size

    async def _why(self, item: Row, refused: TransferError) -> TransferError:
        """The error with its S3 code, from a GET: the response to a HEAD has no body."""
        ref = object_of(item)
        if refused.status == 404 and ref.bucket in self._buckets:
            return _missing(ref, refused)
        (link,) = self._asking([item], method="GET")

        async def ask() -> TransferError:
            async with self.context.http.request(link, {"Range": "bytes=0-0"}) as response:
                return refused if response.status < 300 else await response.error(link)

        try:
            error, _ = await self.context.retried(ask, ref)
        except TransferError:
            return refused
        if refused.status == 404 and error.status == 404 and error.code != "NoSuchBucket":
            self._buckets.add(ref.bucket)
            return _missing(ref, refused)
        return error

    def _asking(
        self,
        items: Sequence[Row],
        query: Mapping[str, str] | None = None,
        method: Method = "HEAD",
        *,
        asks_checksums: bool = True,
    ) -> list[Link]:
        """HEAD links of some items, without response overrides, which would replace the object's own headers."""
        refs = [_bare(object_of(item)) for item in items]
        options, asks = self._options, asks_checksums and self._asks_checksums
        if not asks:
            options = msgspec.structs.replace(options, checksum_mode=None)
        if not isinstance(items[0], Link):
            return self._presigner.sign_batch(refs, method, expires_in=_EXPIRES_IN, query=query, options=options)
        links = [
            msgspec.structs.replace(
                without_response_overrides(item),
                object=ref,
                headers=item.headers if asks else without_checksum_mode(item.headers),
            )
            for item, ref in zip(items, refs, strict=True)
            if isinstance(item, Link)
        ]
        return self._presigner.sign_again(links, method, expires_in=_EXPIRES_IN, query=query, options=options)


class _Window:
    """The batches in progress, in order: read on demand, passed on when the oldest one is complete."""

    def __init__(
        self,
        batches: AsyncIterator[Sequence[Row]],
        asking: Callable[[Sequence[Row]], list[Link]],
        take: BatchCallback,
    ) -> None:
        self._batches, self._asking, self._take = batches, asking, take
        self._reading, self._taking = anyio.Lock(), anyio.Lock()
        self._order: deque[_Batch] = deque()
        self._waiting: deque[tuple[_Batch, int]] = deque()
        self._held = 0
        self._has_room = anyio.Event()
        self._ended = False

    async def next(self) -> tuple[_Batch, int] | None:
        """The next item, as its batch and its index there; None at the end."""
        while not self._waiting:
            async with self._reading:
                if not self._waiting and not await self._read():
                    return None
        return self._waiting.popleft()

    async def finished(self, batch: _Batch) -> None:
        """Marks one item of a batch as finished, and passes on complete batches from the oldest on."""
        batch.left -= 1
        if batch.left:
            return
        async with self._taking:
            while self._order and not self._order[0].left:
                whole = self._order.popleft()
                await self._take([item for item in whole.found if item is not None])
                self._held -= len(whole.items)
                self._has_room.set()

    async def _read(self) -> bool:
        while self._held >= _MOST_HELD:
            self._has_room = anyio.Event()
            await self._has_room.wait()
        if self._ended or (items := await anext(self._batches, None)) is None:
            self._ended = True
            return False
        if items:
            batch = _Batch(items, self._asking(items), [None] * len(items), len(items))
            self._held += len(items)
            self._order.append(batch)
            self._waiting.extend((batch, index) for index in range(len(items)))
        return True


def _bare(ref: ObjectRef) -> ObjectRef:
    """The object without the columns of response overrides."""
    if ref.extra is None or ref.extra.keys().isdisjoint(OVERRIDES):
        return ref
    return msgspec.structs.replace(ref, extra={name: ref.extra[name] for name in ref.extra.keys() - set(OVERRIDES)})


def _missing(ref: ObjectRef, refused: TransferError) -> RefusedError:
    code = "NoSuchVersion" if ref.version_id else "NoSuchKey"
    what = "the key has no such version" if ref.version_id else "there is no object of this key"
    error = RefusedError(f"404 {code}: {what}", code=code, status=404)
    error.attempt = refused.attempt
    return error
