"""The check before the first request: every table that is a file is read whole."""

from collections.abc import Callable, Iterator, Sequence

import anyio.lowlevel
import msgspec

from bulkpresign.errors import ManifestError, NameRefusedError, ParameterError
from bulkpresign.events import Listener, RowsRead, broadcast
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.manifest.uploads import upload_id_of
from bulkpresign.model import Link, ObjectRef
from bulkpresign.pipeline.run.completed import CompletedFilter
from bulkpresign.pipeline.sources.sources import Sources
from bulkpresign.tables import Table

REMEDY = "column path names another file, --exclude leaves the row out"
NO_CASE = "names in this folder do not differ by case"
#: An object, its link where it has one already, and its location.
Located = tuple[ObjectRef, Link | None, str]


class Totals(msgspec.Struct):
    """The totals of a checked manifest; None where the input is a stream, or sizes are unknown.

    `known` of the objects are done already.
    """

    objects: int | None = None
    bytes: int | None = None
    known: int = 0

    @property
    def is_nothing_left(self) -> bool:
        """True where all of them are done."""
        return self.known > 0 and self.known == self.objects


async def check(
    sources: Sources,
    allow: Callable[[Sequence[str]], object],
    index: PathIndex,
    method: str,
    completed: CompletedFilter | None = None,
    *,
    listeners: Sequence[Listener] = (),
    placed: Callable[[ObjectRef], ObjectRef] | None = None,
    located: Callable[[Table], Iterator[Sequence[Located]]] | None = None,
) -> Totals:
    """Reads every table that is a file, whole, before anything is sent, and counts what was `completed` before.

    `listeners` are told how many rows were read. `placed` gives an object the path that it goes to, where that is
    another one than its row's. `located` reads the rows of a table, where each is not one link of `method`.

    Raises ManifestError for the first row that can't be used, is a link of another method, has a path that `allow`
    refuses among a batch's with NameRefusedError, or a path that another row has.
    """
    totals, sized, tell = Totals(0, 0), True, broadcast(listeners)
    for table in sources.tables:
        if table.is_stream:
            continue
        for batch in sources.located(table, method) if located is None else located(table):
            refs = [ref for ref, _, _ in batch]
            rows = [(ref if placed is None else _placed(placed, ref, location), location) for ref, _, location in batch]
            if method in {"GET", "PUT"}:
                rows = [(ref, location) for ref, location in rows if not ref.is_folder_marker]
            _check_paths(rows, allow, index)
            sized = sized and all(ref.size is not None for ref in refs)
            totals = Totals(
                (totals.objects or 0) + len(refs),
                (totals.bytes or 0) + sum(ref.size or 0 for ref in refs),
                totals.known + (sum(completed.are_done([(ref, link) for ref, link, _ in batch])) if completed else 0),
            )
            if batch:
                tell(RowsRead(len(batch)))
            await anyio.lowlevel.checkpoint()
    if not sources.are_files or sources.takes_some:
        return Totals()
    return totals if sized else Totals(totals.objects, None, totals.known)


def _placed(placed: Callable[[ObjectRef], ObjectRef], ref: ObjectRef, location: str) -> ObjectRef:
    try:
        return placed(ref)
    except ParameterError as error:
        raise _located(str(error), location, None) from error


def reserve_paths(index: PathIndex, rows: Sequence[tuple[ObjectRef, str]]) -> None:
    """Takes the paths of some rows, each with its location. Raises ManifestError for one that is taken.

    An upload is taken as well: its rows stand together, so that it comes once.
    """
    uploads = [(f"\0{upload_id}", location) for ref, location in rows if ref.extra and (upload_id := upload_id_of(ref))]
    if uploads and (clash := index.add(uploads)):
        name, first, second = clash
        raise _located(
            f"the rows of upload {name[1:]!r} stand together, and others of it are at {first}", second, "upload_id"
        )
    if clash := index.add([(ref.file_path, location) for ref, location in rows]):
        path, first, second = clash
        why = f": {NO_CASE}; {REMEDY}" if index.ignores_case else ""
        raise _located(f"path {path!r} is the path of {first} as well{why}", second)


def index_paths(index: PathIndex) -> Callable[[Sequence[ObjectRef]], None]:
    """Takes the paths of objects that are checked as they come. Raises ManifestError for one that is taken."""
    return lambda refs: reserve_paths(index, [(ref, ref.uri) for ref in refs])


def _check_paths(
    rows: Sequence[tuple[ObjectRef, str]], allow: Callable[[Sequence[str]], object], index: PathIndex
) -> None:
    try:
        allow([ref.file_path for ref, _ in rows])
    except NameRefusedError as error:
        location = next(location for ref, location in rows if ref.file_path == error.path)
        raise _located(f"{error}; {REMEDY}", location) from error
    reserve_paths(index, rows)


def _located(problem: str, location: str, column: str | None = "path") -> ManifestError:
    file, colon, line = location.rpartition(":")
    if colon and line.isdecimal():
        return ManifestError(problem, file=file, line=int(line), column=column)
    return ManifestError(problem, file=location)
