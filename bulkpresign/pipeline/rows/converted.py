"""Writes links and upload forms in the formats of `convert`. Refuses rows that one can't hold, with their places."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Protocol

import msgspec

from bulkpresign.errors import InputError, ParameterError
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.manifest.forms import asks_content_type
from bulkpresign.manifest.page import MOST_ROWS, forms_page, links_page
from bulkpresign.manifest.partners import LINK_LISTS
from bulkpresign.manifest.uploads import upload_id_of
from bulkpresign.manifest.writing import link_writer
from bulkpresign.model import Link, Post
from bulkpresign.pipeline.run.preflight import reserve_paths
from bulkpresign.tables import Output
from bulkpresign.tables.columns import DST_URL
from bulkpresign.transfer.disk.paths import path_problem

#: The format of a page for browsers.
PAGE = "html"
#: Rows that were written.
_Written = Sequence[Link | Post]
#: Reasons why a link can't be written, each with its column (None: no one column).
_Problems = Iterator[tuple[str | None, str]]


class RowBatch(msgspec.Struct, frozen=True):
    """Some links, or some upload forms, with their places. `error` makes an error with that of one, by its index."""

    rows: Sequence[Link | Post]
    places: Sequence[str]
    error: Callable[[int, str, str | None], InputError]

    @property
    def links(self) -> list[Link]:
        """The links."""
        return [row for row in self.rows if isinstance(row, Link)]

    def check(self, problems: Callable[[Link | Post], _Problems]) -> None:
        """Raises InputError for the first row that has a problem."""
        for index, row in enumerate(self.rows):
            if found := next(problems(row), None):
                column, problem = found
                raise self.error(index, problem, column)

    def files(self) -> "RowBatch":
        """The same without the links of empty objects that mark folders: no tool has such files."""
        kept = [
            index for index, row in enumerate(self.rows) if isinstance(row, Post) or not row.object.is_folder_marker
        ]
        if len(kept) == len(self.rows):
            return self
        return RowBatch(
            [self.rows[index] for index in kept],
            [self.places[index] for index in kept],
            lambda index, problem, column: self.error(kept[index], problem, column),
        )


class ConvertedWriter(Protocol):
    """Writes batches of rows."""

    def write(self, batch: RowBatch) -> _Written:
        """Writes some rows, and returns those that were written. Raises InputError for one that can't be."""
        ...

    def finish(self) -> None:
        """Ends the output."""
        ...


def converted_writer(
    stack: AsyncExitStack, kind: str, output: Output, file: str, columns: Sequence[str]
) -> ConvertedWriter:
    """The writer of a format. `columns` are those of the source, for a manifest. It is used until the `stack` ends."""
    if kind == PAGE:
        return _PageWriter(output)
    if kind in LINK_LISTS:
        return _ListWriter(kind, output, stack.enter_context(PathIndex()))
    return _ManifestWriter(kind, output, file, columns)


class _ListWriter:
    """Writes a list for another tool."""

    def __init__(self, kind: str, output: Output, index: PathIndex) -> None:
        self._name, self._list = kind, LINK_LISTS[kind]()
        self._output, self._index = output, index

    def write(self, batch: RowBatch) -> _Written:
        """Writes some links."""
        batch = batch.files()
        batch.check(self._problems)
        reserve_paths(self._index, [(row.object, place) for row, place in zip(batch.rows, batch.places, strict=True)])
        self._output.write(self._list.text_of(batch.links).encode())
        return batch.links

    def _problems(self, link: Link | Post) -> _Problems:
        assert isinstance(link, Link)  # noqa: S101 - forms do not come here
        methods, path = self._list.methods, link.object.file_path
        yield from _problems(link)
        if link.method not in methods:
            yield "method", f"a {link.method} link, and {self._name} takes {' and '.join(sorted(methods))} links"
        if problem := path_problem(path):
            yield "path", f"path {path!r} is refused: {problem}"
        if problem := self._list.problem(link):
            yield None, problem

    def finish(self) -> None:
        """Does nothing: a list has no end."""


class _PageWriter:
    """Collects the rows of a page."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._links = list[Link]()
        self._posts = list[Post]()

    def write(self, batch: RowBatch) -> _Written:
        """Takes some rows."""
        batch = batch.files()
        batch.check(self._problems)
        self._posts += [row for row in batch.rows if isinstance(row, Post)]
        self._links += batch.links
        if self._links and self._posts:
            raise ParameterError("links and upload forms do not go to the same page: convert them apart")
        if len(self._links) + len(self._posts) > MOST_ROWS:
            raise ParameterError(f"a page has {MOST_ROWS:,} rows at most: bulkpresign split makes several manifests")
        return batch.rows

    @staticmethod
    def _problems(row: Link | Post) -> _Problems:
        if isinstance(row, Post):
            if asks_content_type(row):
                yield "fields", "a browser does not send the content type that this form asks for: name one to post"
            return
        yield from _problems(row)
        if row.method != "GET":
            yield "method", f"a {row.method} link, and a page takes GET links, or the upload forms of bulkpresign post"
        if row.headers:
            yield "headers", f"a browser does not send the headers that this link needs: {', '.join(row.headers)}"

    def finish(self) -> None:
        """Writes the page."""
        page = forms_page(self._posts) if self._posts else links_page(self._links)
        self._output.write(page.encode())


class _ManifestWriter:
    """Writes a manifest of ours."""

    def __init__(self, kind: str, output: Output, file: str, columns: Sequence[str]) -> None:
        self._writer = link_writer(output, file, kind, columns)

    def write(self, batch: RowBatch) -> _Written:
        """Writes some links."""
        self._writer.write(batch.links)
        return batch.links

    def finish(self) -> None:
        """Ends the manifest."""
        self._writer.finish()


def _problems(link: Link) -> _Problems:
    """The reasons why no other tool can use a link."""
    if upload_id_of(link.object):
        yield "upload_id", "a part of an upload, which takes several links: bulkpresign put sends it"
    if (link.object.extra or {}).get(DST_URL):
        yield DST_URL, "a copy takes two links: bulkpresign copy makes it"
