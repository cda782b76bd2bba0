"""Downloads an object through a link, into a file that appears when it is whole and verified.

One loop drives an object: `steps.next_step` decides by all that is known, `store_stream` or `RangedDownload` runs one
attempt into the `Sink`, and its result or error adds to the knowledge.

Each request has its own attempts. With a renewed link the count starts again. A mismatch makes the object start from
its first byte, and counts as a failed attempt of its request. The parts of a ranged download are retried one by one.
"""

from collections.abc import Awaitable, Mapping

import anyio
import msgspec

from bulkpresign.errors import MismatchError, NameRefusedError, StorageError, TransferError
from bulkpresign.http.client import DirectRequest
from bulkpresign.http.response import Response
from bulkpresign.model import Evidence, Link, Outcome
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.coordinator import Coordinator
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.disk.temporary import remove_temporary
from bulkpresign.transfer.downloads.existing import ExistingFile, IfExists, check_existing
from bulkpresign.transfer.downloads.ranged import RangedDownload
from bulkpresign.transfer.downloads.responses import (
    CHECKSUM_MODE,
    RANGE_STATUSES,
    check_allowed,
    check_row_size,
    refusal,
)
from bulkpresign.transfer.downloads.sink import Sink, SinkOptions, Stored
from bulkpresign.transfer.downloads.steps import (
    STREAM,
    Knowledge,
    Ranged,
    ResponseHead,
    Restart,
    Resume,
    Step,
    next_step,
)
from bulkpresign.transfer.downloads.stream import store_stream
from bulkpresign.transfer.engine.jobs import Job, LocalFile, RenewableLink
from bulkpresign.transfer.engine.limiter import Turn
from bulkpresign.transfer.engine.renewal import LinkRenewer
from bulkpresign.transfer.engine.retries import numbered

#: A bound that no object reaches.
_NO_BOUND = 1 << 63


class Downloader:
    """Downloads objects below a folder.

    An existing file that matches is skipped; `if_exists` tells what to do with one that differs. An object over
    `part_size` bytes (None: 16 MiB) is fetched in parts if its checksum can be computed from parts, `part_concurrency`
    at a time (None: as many as the limiter has room for). `max_object_size` (bytes) bounds
    objects whose rows tell no size; with `fsync` an object is done once it is on the disk. With `rechecks` every
    existing file is compared with the server, by its recorded etag if the file hasn't changed.
    """

    def __init__(
        self,
        context: TransferContext,
        folder: Folder,
        coordinator: Coordinator,
        *,
        part_size: int | None = None,
        part_concurrency: int | None = None,
        if_exists: IfExists = "replace",
        max_object_size: int | None = None,
        rechecks: bool = False,
        fsync: bool = False,
    ) -> None:
        self.folder = folder
        self._context, self._coordinator = context, coordinator
        self._part_size, self._part_concurrency = part_size, part_concurrency
        self._if_exists, self._rechecks = if_exists, rechecks
        bound = _NO_BOUND if max_object_size is None else max_object_size
        self._options = SinkOptions(bound, fsync, coordinator.ask_part_size)

    async def __call__(self, job: Job, renewer: LinkRenewer) -> Outcome:
        """Downloads the object of one job. Raises TransferError where it fails."""
        return await self.go_on(job, renewer, None)

    async def go_on(self, job: Job, renewer: LinkRenewer, sent: DirectRequest | None) -> Outcome:
        """Downloads the object of one job, whose first request may have been sent already, in a slot of the limiter."""
        source, file = job.source, job.target
        assert isinstance(source, RenewableLink)  # noqa: S101 - as the dispatch has it
        assert isinstance(file, LocalFile)  # noqa: S101 - likewise
        link = source.link
        if link.object.is_folder_marker:
            return ExistingFile(message="a folder marker has no file").skipped(link)
        try:
            target = self.folder.target(file.path)
        except NameRefusedError as error:
            raise numbered(StorageError(str(error), code="NameRefused"), 0) from error
        sink = Sink(self._context, self._options, target, link, job.checkpoint)
        first = iter((sent,))
        return await renewer.call(source, lambda link: self._download(link, sink, job.evidence, next(first, None)))

    async def _download(self, link: Link, sink: Sink, evidence: Evidence | None, sent: DirectRequest | None) -> Outcome:
        sink.link = link
        with sink.target:
            existing = None if self.folder.was_empty else await self._existing(sink, evidence)
            if existing is not None and existing.is_skipped:
                remove_temporary(sink.target)
                return existing.skipped(link)
            knowledge = self._row(link, existing)
            if sink.point is not None:
                knowledge = await _with_checkpoint(knowledge, sink)
            download = _Download(self._context, self._coordinator, sink, existing, knowledge)
            download.part_concurrency, download.sent = self._part_concurrency, sent
            return await download.run()

    async def _existing(self, sink: Sink, evidence: Evidence | None) -> ExistingFile | None:
        """The file that exists under the object's name, None where there is none."""
        found = sink.target.found()
        sink.must_not_replace = found is not None and self._if_exists == "fail"
        if found is None:
            return None
        ref, keeps = sink.link.object, self._if_exists == "keep"
        return await check_existing(ref, sink.target, found, evidence, keeps=keeps, rechecks=self._rechecks)

    def _row(self, link: Link, existing: ExistingFile | None) -> Knowledge:
        """Everything that is known without a checkpoint."""
        asks_checksum = CHECKSUM_MODE in link.headers and link.object.checksum is None
        asks_first = asks_checksum or (existing is not None and existing.etag is not None)
        return Knowledge(link.object, self._part_size, asks_first)


async def _with_checkpoint(knowledge: Knowledge, sink: Sink) -> Knowledge:
    """Adds the bytes that an earlier attempt left on disk."""
    on_disk = sink.on_disk()
    finished = await sink.intact_parts(on_disk)
    return msgspec.structs.replace(knowledge, point=sink.point, on_disk=on_disk, finished=finished)


class _Download:
    """One object through one link."""

    def __init__(
        self,
        context: TransferContext,
        coordinator: Coordinator,
        sink: Sink,
        existing: ExistingFile | None,
        knowledge: Knowledge,
    ) -> None:
        self._context, self._coordinator = context, coordinator
        self._sink, self._link = sink, sink.link
        self._existing, self._knowledge = existing, knowledge
        self._attempts = context.attempts_of(knowledge.ref)
        self._restarts = 0
        self.part_concurrency: int | None = None
        self.sent: DirectRequest | None = None
        self._most_attempts = 1

    async def run(self) -> Outcome:
        """Runs one step after another. Raises the TransferError of the last attempt."""
        while True:
            result: Outcome | RangedDownload | None = None
            try:
                result = await self._attempt()
                if not isinstance(result, RangedDownload):
                    return result
                return self._done(await result.run(), result.attempts)
            except BaseException as error:
                await self._sink.abandon(error)
                if not isinstance(error, TransferError):
                    raise
                if isinstance(result, RangedDownload) and not isinstance(error, MismatchError):
                    raise  # its parts had attempts of their own
                delay = self._delay_after(error)
            await anyio.sleep(delay)

    def _attempt(self) -> Awaitable[Outcome | RangedDownload]:
        """Runs the next step. Gives the outcome, or the download of the parts that are left."""
        step = next_step(self._knowledge)
        if self.sent is not None and not (step is STREAM and self._existing is None):
            self._refuse(self.sent)
        if isinstance(step, Ranged):
            ranged = self._ranged(step)
            return ranged.start(lambda: self._request(step, ranged.headers, ranged))
        if isinstance(step, Resume):
            return self._request(step, step.headers)
        return self._request(step, None if self._existing is None else self._existing.condition)

    def _refuse(self, sent: DirectRequest) -> None:
        """Closes a request that was sent and is not the one that is needed now."""
        self.sent, sent.has_slot = None, False
        sent.close()
        self._context.limiter.release()

    async def _request(
        self, step: Step, headers: Mapping[str, str] | None, ranged: RangedDownload | None = None
    ) -> Outcome | RangedDownload:
        context, sent = self._context, self.sent
        self.sent = None
        if sent is None:
            await context.limiter.acquire()
        else:
            sent.has_slot = False
        with Turn(context.limiter) as turn:
            async with sent or context.http.request(self._link, headers) as response:
                result = await self._receive(response, step, ranged)
            if isinstance(result, RangedDownload):
                turn.error = result.first_error
            return result

    def _ranged(self, step: Ranged) -> RangedDownload:
        return RangedDownload(self._context, self._link, self._sink, step.plan(), self.part_concurrency)

    async def _receive(self, response: Response, step: Step, ranged: RangedDownload | None) -> Outcome | RangedDownload:
        """Takes the response of a step, whose head can make it another step."""
        status, sink = response.status, self._sink
        if status != 200 and (step is STREAM or status not in RANGE_STATUSES):
            return await self._without_object(response)
        head = ResponseHead(status, response.etag, response.length, response.headers)
        if status == 200 and head.length is not None:
            check_allowed(head.length, sink.max_object_size)
            if step is STREAM:  # else it may be the size of the range that was asked for, as from rclone
                check_row_size(self._link.object, head.etag, head.length)
        if step is not STREAM or self._knowledge.is_large(head.length or 0):  # else it stays a stream
            self._knowledge = self._knowledge.with_response(step, head)
            step = next_step(self._knowledge)
        if isinstance(step, Restart):
            raise step.error
        if isinstance(step, Ranged):
            return await self._begin(response, head, step, ranged or self._ranged(step))
        return self._done(await store_stream(response, head, sink, step if isinstance(step, Resume) else None))

    async def _without_object(self, response: Response) -> Outcome:
        """The outcome where the existing file is the object. Raises the error of any other response."""
        existing = self._existing
        if response.status == 304 and existing is not None and existing.etag is not None:
            remove_temporary(self._sink.target)
            return existing.skipped(self._link, self._attempts.number)
        raise await refusal(self._link, response, self._coordinator.refuse_checksum_mode)

    async def _begin(
        self, response: Response, head: ResponseHead, step: Ranged, ranged: RangedDownload
    ) -> RangedDownload:
        """Receives the first part. From here on each part has attempts of its own, and only restarts count."""
        self._knowledge = self._knowledge.with_response(step, head)
        await ranged.begin(response, head, self._attempts.number)
        self._most_attempts = max(self._most_attempts, self._attempts.number)
        self._attempts.number = 1 + self._restarts
        return ranged

    def _delay_after(self, error: TransferError) -> float:
        """Learns from a failed attempt. Returns the seconds until the next one; raises the error of the last."""
        sink, knowledge = self._sink, self._knowledge.with_error(error)
        step = next_step(knowledge)
        if isinstance(step, Restart):
            sink.restart()
            self._knowledge = knowledge.restarted(step)
            self._restarts += step.is_counted
            return self._attempts.delay_after(error) if step.is_counted else 0.0
        delay = self._attempts.delay_after(error)
        on_disk = None if sink.point is None else sink.on_disk()
        self._knowledge = msgspec.structs.replace(knowledge, point=sink.point, on_disk=on_disk)
        return delay

    def _done(self, stored: Stored, attempts: int = 1) -> Outcome:
        attempts = max(attempts, self._attempts.number, self._most_attempts)
        link = self._link
        return Outcome(
            link.object, "done", stored.size, attempts, stored.verified_by, link=link, evidence=stored.evidence
        )
