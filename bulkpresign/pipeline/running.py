"""What every transfer shares: listeners, counts, the check before the first request, and the failures file."""

import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from bulkpresign.errors import InputError, ManifestError, NameRefusedError, ParameterError
from bulkpresign.events import Event, Listener, ObjectFinished, RunFinished, RunStarted
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.ledger.tally import Tally
from bulkpresign.manifest.writing import ManifestWriter, link_writer, object_writer
from bulkpresign.model import Link, ObjectRef, Report
from bulkpresign.pipeline.sources import Sources
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables import open_output
from bulkpresign.tables.reading import table_format
from bulkpresign.transfer.engine import Feed, Renew, Work, run
from bulkpresign.transfer.http import Http

_FAILURES_BATCH = 256


class Totals(msgspec.Struct):
    """What a checked manifest holds; None where the input is a stream, or sizes are unknown."""

    objects: int | None = None
    bytes: int | None = None


async def check(sources: Sources, allow: Callable[[str], object], index: PathIndex, method: str) -> Totals:
    """Reads every table that is a file, whole, before anything is sent.

    Raises ManifestError for the first row that can't be used, is a link of another method, has a path that `allow`
    refuses with NameRefusedError, or a path that another row has.
    """
    objects, size = 0, 0
    sized = True
    for table in sources.tables:
        if table.is_stream:
            continue
        for batch in sources.placed(table, method):
            rows = [(ref, place) for ref, _, place in batch]
            for ref, place in rows:
                try:
                    allow(ref.place)
                except NameRefusedError as error:
                    raise _placed(str(error), place) from error
            claim_paths(index, rows)
            objects += len(rows)
            sized = sized and all(ref.size is not None for ref, _ in rows)
            size += sum(ref.size or 0 for ref, _ in rows)
            await anyio.lowlevel.checkpoint()
    return Totals(objects, size if sized else None) if sources.are_files else Totals()


def claim_paths(index: PathIndex, rows: Sequence[tuple[ObjectRef, str]]) -> None:
    """Takes the paths of some rows, each with its place. Raises ManifestError for one that is taken."""
    if clash := index.add([(ref.place, place) for ref, place in rows]):
        path, first, second = clash
        raise _placed(f"path {path!r} is the path of {first} as well", second)


def _placed(problem: str, place: str) -> ManifestError:
    file, colon, line = place.rpartition(":")
    if colon and line.isdecimal():
        return ManifestError(problem, file=file, line=int(line), column="path")
    return ManifestError(problem, file=place)


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
        if isinstance(event, ObjectFinished) and event.outcome.status in {"failed", "expired"}:
            outcome = event.outcome
            self.add(outcome.link, outcome.object, f"{outcome.code}: {outcome.message}")

    def add(self, link: Link | None, ref: ObjectRef, reason: str) -> None:
        """Adds one row."""
        extra = {name: value for name, value in (ref.extra or {}).items() if self._takes(name)}
        ref = msgspec.structs.replace(ref, extra={**extra, "reason": reason})
        row = msgspec.structs.replace(link, object=ref) if link is not None and self._as_links else ref
        self._rows.append(row)
        self.is_empty = False
        if len(self._rows) >= _FAILURES_BATCH:
            self.flush()

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


async def transfer(
    verb: str,
    batches: AsyncIterator[Sequence[Link]],
    work_with: Callable[[Http, Listener], Work],
    *,
    concurrency: int,
    totals: Totals,
    listeners: Sequence[Listener],
    log: FailureLog | None,
    renew: Renew | None = None,
) -> Report:
    """Runs links through the engine and counts what became of them."""
    tally = Tally(verb)
    heard: list[Listener] = [tally, *([log] if log else []), *listeners]

    def emit(event: Event) -> None:
        for listener in heard:
            listener(event)

    emit(RunStarted(verb, totals.objects, totals.bytes))
    feed = Feed(batches)
    try:
        async with Http(concurrency) as http:
            await run(feed, work_with(http, emit), concurrency, emit, renew)
    except BaseException:
        if log is not None:
            await _log_rest(feed, log)
        raise
    finally:
        emit(RunFinished(tally.report))
    return tally.report


async def _log_rest(feed: Feed, log: FailureLog) -> None:
    """Names what a run that ended early did not come to."""
    with anyio.CancelScope(shield=True):
        async for links in feed.rest():
            for link in links:
                log.add(link, link.object, "Interrupted: the run ended before its turn")


def renewal(presigner: Presigner, headers: Mapping[str, str] | None = None) -> Renew:
    """Fresh links for objects of our own, signed again when their turn comes late."""

    async def renew(links: Sequence[Link]) -> Sequence[Link]:
        await presigner.refresh()
        return presigner.sign_batch([link.object for link in links], links[0].method, headers=headers)

    return renew


def check_bounds(concurrency: int, attempts: int) -> None:
    """Raises ParameterError for bounds that can't be."""
    if concurrency < 1:
        raise ParameterError(f"concurrency of {concurrency} is not at least 1")
    if attempts < 1:
        raise ParameterError(f"attempts of {attempts} is not at least 1")
