"""What every transfer shares: listeners, counts, bounds, the journal and the failures file."""

import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from bulkpresign.errors import BreakerError, InputError, OutputError, ParameterError
from bulkpresign.events import Event, Listener, ObjectFinished, ObjectsSkipped, RunFinished, RunStarted
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.recorder import Recorder
from bulkpresign.ledger.tally import Tally
from bulkpresign.manifest.writing import ManifestWriter, link_writer, object_writer
from bulkpresign.model import Link, ObjectRef, Report, Upload
from bulkpresign.pipeline.checking import Totals
from bulkpresign.pipeline.known import Known
from bulkpresign.pipeline.sources import Sources
from bulkpresign.tables import open_output
from bulkpresign.tables.reading import table_format
from bulkpresign.transfer.clock import Clock
from bulkpresign.transfer.engine import Engine, Feed, Work
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.leases import Lease
from bulkpresign.transfer.multipart import Uploader
from bulkpresign.transfer.pace import Pace

_FAILURES_BATCH = 256


class FailureLog:
    """A listener that writes what is not done to a manifest, which is valid input again.

    Objects whose links we signed are written as objects, other ones with their links; each with its `reason`.
    """

    def __init__(self, writer: ManifestWriter[Any], *, as_links: bool, carried: Collection[str] | None) -> None:
        """`carried`: the columns that the file can take besides our own, None for any."""
        self._writer = writer
        self._as_links = as_links
        self._carried = carried
        self._rows: list[Link | ObjectRef] = []
        self.is_empty = True

    def __call__(self, event: Event) -> None:
        """Keeps an outcome that is not done."""
        if type(event) is ObjectFinished and event.outcome.status in {"failed", "expired"}:
            outcome = event.outcome
            self.add(outcome.link, outcome.object, f"{outcome.code}: {outcome.message}", outcome.upload)

    def add(self, link: Link | None, ref: ObjectRef, reason: str, upload: Upload | None = None) -> None:
        """Adds one row, or all those of an upload."""
        if upload is not None and self._as_links:
            self._rows += [msgspec.structs.replace(row, object=self._with(row.object, reason)) for row in upload.links]
        elif link is not None and self._as_links:
            self._rows.append(msgspec.structs.replace(link, object=self._with(ref, reason)))
        else:
            self._rows.append(self._with(ref, reason))
        self.is_empty = False
        if len(self._rows) >= _FAILURES_BATCH:
            self.flush()

    def _with(self, ref: ObjectRef, reason: str) -> ObjectRef:
        extra = {name: value for name, value in (ref.extra or {}).items() if self._takes(name)}
        return msgspec.structs.replace(ref, extra={**extra, "reason": reason})

    def _takes(self, column: str) -> bool:
        return self._carried is None or column in self._carried

    def flush(self) -> None:
        """Writes what was kept."""
        rows, self._rows = self._rows, []
        if rows:
            self._writer.write(rows)


@asynccontextmanager
async def failure_log(file: str | os.PathLike[str] | None, sources: Sources | None) -> AsyncIterator[FailureLog | None]:
    """A failures file that is written however the run ends; None where none is wanted.

    Where input was bad, so that there was no run, what stands under its name stays.
    """
    if file is None:
        yield None
        return
    name = os.fspath(file)
    kind = table_format(name)
    as_links = sources is not None and sources.has_links
    columns = sources.columns if sources else []
    ended: BaseException | None = None
    with open_output(name) as stream:
        make = link_writer if as_links else object_writer
        writer = make(stream, name, kind, list(dict.fromkeys([*columns, "reason"])))
        log = FailureLog(writer, as_links=as_links, carried=columns if kind == "csv" else None)
        try:
            yield log
        except BaseException as error:
            if isinstance(error, InputError) and log.is_empty:
                raise
            ended = error  # raised again once the file stands
        log.flush()
        writer.finish()
    if ended is not None:
        raise ended


#: Objects over this size move in parts of it, unless another size is given.
PART_SIZE = 64 << 20
PART_CONCURRENCY = 8


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may use; None: no bound.

    Objects in flight, bytes of one part of a large object and parts in flight of each, tries of a request, bytes a
    second, objects in all. Memory is at most `concurrency x part_concurrency x 512 KiB`: what each request in flight
    holds in its buffers.
    """

    concurrency: int = 64
    part_size: int = PART_SIZE
    part_concurrency: int = PART_CONCURRENCY
    attempts: int = 5
    limit_rate: int | None = None
    limit: int | None = None

    @property
    def requests(self) -> int:
        """How many requests may be in flight."""
        return self.concurrency * self.part_concurrency

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ParameterError(f"{name} of {value} is not at least 1")


class Machine(msgspec.Struct):
    """What moves bytes, and what it has to tell: given to whoever makes the work of one verb."""

    http: Http
    emit: Listener
    pace: Pace
    journal: Journal | None


async def transfer(
    verb: str,
    batches: AsyncIterator[Sequence[Lease]],
    work_with: Callable[[Machine], Work],
    *,
    bounds: Bounds,
    totals: Totals,
    listeners: Sequence[Listener],
    log: FailureLog | None,
    journal: Journal | None = None,
    root: str | os.PathLike[str],
    http: Http,
    clock: Clock,
    uploads_with: Callable[[Machine], Uploader] | None = None,
) -> Report:
    """Runs links through the engine and counts what became of them; uploads go through what `uploads_with` makes.

    What the journal knows to be done, and the folder `root` still shows, is skipped without a request.
    """
    tally = Tally(verb)
    heard: list[Listener] = [tally, *([log] if log else []), *listeners]

    def tell(event: Event) -> None:
        for listener in heard:
            listener(event)

    tell(RunStarted(verb, totals.objects, totals.bytes))
    record = Recorder(journal, tell)
    pace = Pace(bounds.requests, bounds.limit_rate)
    if totals.is_nothing_left:
        tell(ObjectsSkipped(totals.known))
        batches = _nothing()
    feed = Feed(_limited(_undone(batches, Known(journal, root), record), bounds.limit))
    machine = Machine(http, record, pace, journal)
    uploader = uploads_with(machine) if uploads_with is not None else None
    try:
        engine = Engine(feed, work_with(machine), record, clock, uploader)
        await engine.run(bounds.concurrency)
        record.flush()
    except BaseException as error:
        with suppress(OutputError):  # what ended the run is on its way already
            record.flush()
        if log is not None:
            _log_unrecorded(record, log)
            await _log_rest(feed, log)
        if isinstance(error, OutputError):
            raise BreakerError(f"{error}, so the run ends") from error
        raise
    finally:
        tally.report.slowed, tally.report.lowest_concurrency = pace.slowed, pace.lowest
        tally.report.uploads_left_open = uploader.left_open if uploader is not None else 0
        tell(RunFinished(tally.report))
    return tally.report


async def plan(
    verb: str,
    batches: AsyncIterator[Sequence[Lease]],
    *,
    bounds: Bounds,
    journal: Journal | None,
    root: str | os.PathLike[str],
    listeners: Sequence[Listener],
) -> Report:
    """What a run would do: counts what is left (`planned`, and its bytes where they are known), sends nothing."""
    tally = Tally(verb)
    heard: list[Listener] = [tally, *listeners]

    def tell(event: Event) -> None:
        for listener in heard:
            listener(event)

    tally.report.planned = 0
    async for batch in _limited(_undone(batches, Known(journal, root), tell), bounds.limit):
        tally.report.planned += len(batch)
        tally.report.bytes += sum(lease.link.object.size or 0 for lease in batch)
    tell(RunFinished(tally.report))
    return tally.report


async def _undone(
    batches: AsyncIterator[Sequence[Lease]], known: Known, emit: Listener
) -> AsyncIterator[Sequence[Lease]]:
    """What is left to do; what is done is told as skipped."""
    async for batch in batches:
        done = known.are_done([(lease.link.object, lease.link) for lease in batch])
        if count := sum(done):
            emit(ObjectsSkipped(count))
            yield [lease for lease, is_done in zip(batch, done, strict=True) if not is_done]
            await anyio.lowlevel.checkpoint()
        else:
            yield batch


async def _nothing() -> AsyncIterator[Sequence[Lease]]:
    batches: Sequence[Sequence[Lease]] = ()
    for batch in batches:
        yield batch


async def _limited(batches: AsyncIterator[Sequence[Lease]], limit: int | None) -> AsyncIterator[Sequence[Lease]]:
    left = limit
    async for batch in batches:
        if left is None:
            yield batch
        else:
            yield batch[:left]
            left -= min(left, len(batch))
        if left == 0:
            return


def _log_unrecorded(record: Recorder, log: FailureLog) -> None:
    """Names what the journal could not take: done or not, the next run has to look at it."""
    for outcome in record.unrecorded:
        log.add(outcome.link, outcome.object, "Unrecorded: the journal could not be written", outcome.upload)


async def _log_rest(feed: Feed, log: FailureLog) -> None:
    """Names what a run that ended early did not come to."""
    with anyio.CancelScope(shield=True):
        async for leases in feed.rest():
            for lease in leases:
                log.add(lease.link, lease.link.object, "Interrupted: the run ended before its turn", lease.upload)


def left_behind(journal: Journal, stack: ExitStack | AsyncExitStack) -> Journal | None:
    """The same journal, open, where an earlier run left it; else None, and no file is made yet."""
    return stack.enter_context(journal) if journal.file.exists() else None


def journal_of(
    given: str | os.PathLike[str] | None, verb: str, folder: str | os.PathLike[str], destination: str
) -> Journal:
    """The journal of a verb and a destination: beside the folder, never inside, unless another file is given.

    A folder that is downloaded into has `DIR.journal`, one that is uploaded from `DIR.put.journal`.
    """
    if given is not None:
        return Journal(given, verb, destination)
    root = Path(os.path.abspath(folder))  # noqa: PTH100 - `DIR/.` and `DIR` are one, links stay as they are
    if not root.name:
        raise ParameterError(f"nothing is beside {root}: name a journal with --journal")
    suffix = ".journal" if verb == "get" else f".{verb}.journal"
    return Journal(root.with_name(f"{root.name}{suffix}"), verb, destination)
