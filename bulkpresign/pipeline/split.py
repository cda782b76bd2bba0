"""split: one manifest becomes several, of a number of objects or bytes each, or one for each value of a column."""

import os
import re
import time
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from hashlib import sha256
from heapq import heapreplace
from itertools import cycle
from pathlib import Path, PurePath

import msgspec

from bulkpresign.errors import OutputError, ParameterError
from bulkpresign.events import Listener, RowsRead, RunFinished, RunStarted, broadcast
from bulkpresign.ledger.paths import folded
from bulkpresign.manifest.groups import heads_of, units_of
from bulkpresign.manifest.rows import columns_of
from bulkpresign.manifest.writing import row_table
from bulkpresign.model import Report
from bulkpresign.pipeline.sources.sources import Source, Sources, check_used
from bulkpresign.source.filters import Filters
from bulkpresign.source.location import SCHEME
from bulkpresign.tables import Output, Rows, Table, open_output
from bulkpresign.tables.columns import column_name
from bulkpresign.tables.files import WRITTEN_LOCALLY, check_local, is_packed
from bulkpresign.tables.objects import known_sizes
from bulkpresign.tables.writing import WRITTEN_FORMATS

#: Manifests that one run writes, at most. Each is an open file, and up to 1 MiB in memory.
MOST_PARTS = 1_000
#: All but letters and digits of any script, `.`, `_` and `-`.
_UNSAFE = re.compile(r"[^\w.-]+")
#: In bytes. A file system allows 255 for the whole name.
_LONGEST_NAME = 100
#: The name for rows without a value in the column.
_NO_VALUE = "none"


class SplitPart(msgspec.Struct):
    """One of the manifests: its file, its number of objects, and their bytes as far as their sizes are known.

    `value` is that of the column by which rows are split, None without one.
    """

    file: str
    objects: int = 0
    bytes: int = 0
    value: str | None = None


class SplitReport(Report, kw_only=True):
    """The counts of one run, and the manifests that were written.

    `others` are files of the same folder that have names as an earlier run gives them, and that this run did not write.
    """

    parts: list[SplitPart] = msgspec.field(default_factory=list)
    others: list[str] = msgspec.field(default_factory=list)


async def split(
    manifest: Source,
    to: str | os.PathLike[str] = ".",
    *,
    parts: int | None = None,
    by: str | None = None,
    from_format: str | None = None,
    filters: Filters | None = None,
    listeners: Sequence[Listener] = (),
) -> SplitReport:
    """Writes the rows of a manifest to several manifests of the same format and columns in the folder `to`.

    Tables in formats that can't be written become CSV.

    With `parts` (1 to 1,000), each object goes to the manifest that has the fewest bytes so far; objects of no or
    unknown size go to each in turn. The files are `NAME-001.csv` and so on, also those without rows.

    With `by`, there is one for each value of a column, `NAME-VALUE.csv`. Other characters than letters and digits of
    any script, `.`, `_` and `-` become `_`, and a hash of the value follows. So it does where names differ by case
    alone: the names do not depend on the order of the rows. `SplitPart.value` is the value.

    The rows of a multipart upload stay together, and rows keep their order. `filters` select among the objects.

    The folder is created. A file appears when all of them are whole, and replaces one of the same name. Memory does not
    grow with the number of rows. Raises InputError for a manifest that can't be used, and OutputError for a file that
    can't be written.
    """
    if (parts is None) == (by is None):
        raise ParameterError("give either a number of parts (-n) or a column (--by)")
    if parts is not None and not 1 <= parts <= MOST_PARTS:
        raise ParameterError(f"{parts:,} parts are not 1 to {MOST_PARTS:,}")
    check_local(os.fspath(to), WRITTEN_LOCALLY)
    sources = Sources(manifest, from_format=from_format, filters=filters or Filters())
    await sources.begin()
    check_used(sources, None, from_format)
    if sources.has_locations:
        raise ParameterError(f"{os.fspath(manifest)} is not a table: split takes a manifest, which sign makes")
    report, tell, began = SplitReport(verb="split"), broadcast(listeners), time.monotonic()
    tell(RunStarted("split"))
    await sources.draw(None, None)
    (table,) = sources.tables
    with ExitStack() as stack:
        files = _Files(stack, Path(to), table)
        choose = _balanced(files, parts) if parts is not None else _by_value(files, by or "")
        async for rows in sources.rows_in(table):
            _write(files, rows, choose)
            tell(RowsRead(len(rows.cells)))
        files.finish()
    report.parts = [file.part for file in files.all]
    report.others = files.others()
    report.done = sum(part.objects for part in report.parts)
    report.bytes = sum(part.bytes for part in report.parts)
    report.seconds = time.monotonic() - began
    tell(RunFinished(report))
    return report


class _File:
    """One of the files that are written."""

    def __init__(self, part: SplitPart, format: str, output: Output, columns: Sequence[str]) -> None:  # noqa: A002 - as elsewhere
        self.part = part
        self.rows: list[int] = []  # of the current batch
        self._output = output
        self._table = None if format == "txt" else row_table(output, format)
        if self._table is not None:
            self._table.header(columns)

    def write(self, rows: Rows) -> None:
        """Adds some rows."""
        if self._table is None:
            self._output.write(_text(rows))
        else:
            self._table.rows(columns_of(rows))

    def finish(self) -> None:
        """Ends the table."""
        if self._table is not None:
            self._table.finish()


def _text(rows: Rows) -> bytes:
    """Lines as a text has them: links, `s3://` uris or keys."""
    cells = [dict(zip(rows.columns, row, strict=True)) for row in rows.cells]
    lines = [row.get("url") or (f"{SCHEME}{row['bucket']}/" if row.get("bucket") else "") + row["key"] for row in cells]
    return "".join(f"{line}\n" for line in lines).encode()


class _Files:
    """The files of a run, open until the `stack` ends."""

    def __init__(self, stack: ExitStack, folder: Path, table: Table) -> None:
        self.all: list[_File] = []
        self._stack, self._folder, self._columns = stack, folder, table.columns
        self._format = table.format if table.format in {*WRITTEN_FORMATS, "txt"} else "csv"
        name = PurePath("rows" if table.file == "-" else table.file).name
        gz = ".gz" if is_packed(name) else ""
        stem, dot, extension = name.removesuffix(name[len(name) - len(gz) :]).rpartition(".")
        is_kept = dot and stem and self._format == table.format and extension.lower() != "tsv"
        self._stem, self._suffix = stem or name, f".{extension}{gz}" if is_kept else f".{self._format}"

    def add(self, name: str, value: str | None = None) -> _File:
        """Opens the next file. Creates the folder."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self._folder} can't be created: {error.strerror}") from error
        part = SplitPart(self.path(name), value=value)
        output = self._stack.enter_context(open_output(part.file, lambda: part.file))
        self.all.append(_File(part, self._format, output, self._columns))
        return self.all[-1]

    def path(self, name: str) -> str:
        """The path of the file with a name of its own."""
        return os.fspath(self._folder / f"{self._stem}-{name}{self._suffix}")

    def others(self) -> list[str]:
        """The paths in the folder that look like those of this run, and are not."""
        try:
            found = sorted(path.name for path in self._folder.iterdir())
        except OSError:  # there is no folder without rows, and one that can't be listed is no error
            return []
        own = {PurePath(file.part.file).name for file in self.all}
        like = [name for name in found if name.startswith(f"{self._stem}-") and name.endswith(self._suffix)]
        return [os.fspath(self._folder / name) for name in like if name not in own]

    def finish(self) -> None:
        """Ends all files."""
        for file in self.all:
            file.finish()


#: Returns the file for an object of some rows, by the index of the row that stands for it, and its size.
_Choose = Callable[[Rows, int, int | None], _File]


def _write(files: _Files, rows: Rows, choose: _Choose) -> None:
    """Writes a batch of rows, those of each object to the file that is chosen for it."""
    heads, sizes = heads_of(rows), known_sizes(rows)
    for unit in units_of(rows):
        head = heads[unit[0]]
        file = choose(rows, head, sizes[head])
        file.rows += unit
        file.part.objects += 1
        file.part.bytes += sizes[head] or 0
    for file in files.all:
        if file.rows:
            file.write(rows if len(file.rows) == len(rows.cells) else rows.some(file.rows))
            file.rows = []


def _balanced(files: _Files, parts: int) -> _Choose:
    """The file with the fewest bytes; objects of no or unknown size go to each file in turn."""
    for number in range(1, parts + 1):
        files.add(f"{number:03}")
    in_turn = cycle(files.all)
    by_bytes = [(0, number) for number in range(parts)]

    def choose(_: Rows, __: int, size: int | None) -> _File:
        if not size:
            return next(in_turn)
        total, number = by_bytes[0]
        heapreplace(by_bytes, (total + size, number))
        return files.all[number]

    return choose


def _by_value(files: _Files, column: str) -> _Choose:
    """The file of the value in a column, which may be named as the header spells it."""
    found: dict[str, _File] = {}
    names: dict[str, list[_File]] = {}

    def choose(rows: Rows, row: int, _: int | None) -> _File:
        given = column if column in rows.columns else column_name(column)
        if given not in rows.columns:
            raise rows.error(row, f"the column is missing; there are {', '.join(rows.columns)[:200]}", column)
        value = str(rows.cells[row][rows.columns.index(given)])
        if value not in found:
            if len(found) == MOST_PARTS:
                raise rows.error(row, f"over {MOST_PARTS:,} values: split writes so many manifests at most", column)
            name = _file_name(value)
            found[value] = files.add(name, value)
            same = names.setdefault(folded(name), [])
            same.append(found[value])
            for file in same if len(same) > 1 else ():
                own = file.part.value or ""
                file.part.file = files.path(f"{_file_name(own)}-{_hash(own)}")
        return found[value]

    return choose


def _file_name(value: str) -> str:
    """The file name for a value. A hash of the value follows one that differs from it."""
    safe = _UNSAFE.sub("_", unicodedata.normalize("NFC", value)).encode()[:_LONGEST_NAME].decode(errors="ignore")
    return safe if safe and safe == value else f"{safe or _NO_VALUE}-{_hash(value)}"


def _hash(value: str) -> str:
    return sha256(value.encode(errors="surrogatepass")).hexdigest()[:8]
