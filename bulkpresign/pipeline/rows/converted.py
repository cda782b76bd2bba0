"""Writes links and upload forms in the formats of `convert`. Lists and pages refuse rows that they can't hold."""

import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Generic, Protocol, TypeVar

import msgspec

from bulkpresign.errors import InputError, ParameterError
from bulkpresign.ledger.paths import PathIndex
from bulkpresign.manifest.forms import form_problem
from bulkpresign.manifest.link_lists import LINK_LISTS
from bulkpresign.manifest.links import missing_headers
from bulkpresign.manifest.page import MOST_ROWS, forms_page, links_page
from bulkpresign.manifest.uploads import upload_id_of
from bulkpresign.manifest.writing import link_writer
from bulkpresign.model import Link, Post, without_query
from bulkpresign.pipeline.run.preflight import reserve_paths
from bulkpresign.tables import Output
from bulkpresign.tables.columns import DST_URL
from bulkpresign.transfer.disk.paths import path_problem

#: The format of a page for browsers.
PAGE = "html"

#: The format of a list of urls alone, for browsers and wget.
_URLS = "txt"
#: A segment of a url's path that is `.` or `..`, which may be quoted.
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)

R = TypeVar("R", Link, Post)
#: The reason why a row can't be written, with its column (None: no one column).
_Problem = tuple[str | None, str]


class RowBatch(msgspec.Struct, Generic[R], frozen=True):
    """Some rows with their places (`links.csv:3`). `error` makes an error of one, by its index."""

    rows: Sequence[R]
    places: Sequence[str]
    error: Callable[[int, str, str | None], InputError]

    def check(self, problem_of: Callable[[R], _Problem | None]) -> None:
        """Raises InputError for the first row that has a problem."""
        for index, row in enumerate(self.rows):
            if found := problem_of(row):
                column, problem = found
                raise self.error(index, problem, column)


class RowWriter(Protocol[R]):
    """Writes batches of rows."""

    def write(self, batch: RowBatch[R]) -> Sequence[R]:
        """Writes some rows, and returns those that were written. Raises InputError for one that can't be."""
        ...

    def finish(self) -> None:
        """Ends the output."""
        ...


#: Takes the places of two rows whose files are one on some disks.
OnSameFiles = Callable[[str, str], None]


def writer_of_links(
    stack: AsyncExitStack, kind: str, output: Output, file: str, columns: Sequence[str], *, on_same_files: OnSameFiles
) -> RowWriter[Link]:
    """The writer of a format. `columns` are those of the source, for a manifest. It is used until the `stack` ends.

    `on_same_files` is called once, for the first rows of a list whose paths are one where a disk ignores case.
    """
    if kind == PAGE:
        return _LinksPage(output)
    if kind in LINK_LISTS:
        folded = _FoldedPaths(stack.enter_context(PathIndex(ignores_case=True)), on_same_files)
        return _ListWriter(kind, output, stack.enter_context(PathIndex()), folded)
    return _ManifestWriter(kind, output, file, columns)


class _FoldedPaths:
    """Finds the first two paths that differ by case or Unicode form alone: the disk of the tool may ignore these."""

    def __init__(self, index: PathIndex, on_same_files: OnSameFiles) -> None:
        self._index, self._tell = index, on_same_files
        self._is_found = False

    def add(self, rows: Sequence[tuple[str, str]]) -> None:
        """Adds paths with their places."""
        if not self._is_found and (clash := self._index.add(rows)):
            _, first, second = clash
            self._is_found = True
            self._tell(first, second)


class _ListWriter:
    """Writes a list for another tool."""

    def __init__(self, kind: str, output: Output, index: PathIndex, folded: _FoldedPaths) -> None:
        self._name, self._list = kind, LINK_LISTS[kind]()
        self._output, self._index, self._folded = output, index, folded
        self._method: str | None = None

    def write(self, batch: RowBatch[Link]) -> Sequence[Link]:
        """Writes some links, but for those of empty objects that mark folders: no tool has such files."""
        batch.check(self._problem)
        kept = [(link, place) for link, place in zip(batch.rows, batch.places, strict=True) if _has_file(link)]
        reserve_paths(self._index, [(link.object, place) for link, place in kept])
        self._folded.add([(link.object.file_path, place) for link, place in kept])
        links = [link for link, _ in kept]
        self._output.write(self._list.text_of(links).encode())
        return links

    def _problem(self, link: Link) -> _Problem | None:
        if not _has_file(link):
            return None
        return _problem(link) or self._method_problem(link) or self._name_problem(link)

    def _method_problem(self, link: Link) -> _Problem | None:
        """A list has links of one method: who downloads with one of a stranger does not send files of his own."""
        methods = self._list.methods
        if link.method not in methods:
            return "method", f"a {link.method} link, and {self._name} takes {' and '.join(sorted(methods))} links"
        self._method = self._method or link.method
        if link.method != self._method:
            return "method", f"a {link.method} link among {self._method} links: convert them apart"
        return None

    def _name_problem(self, link: Link) -> _Problem | None:
        path = link.object.file_path
        if problem := path_problem(path):
            return "path", f"path {path!r} is refused: {problem}"
        problem = self._list.problem(link)
        return None if problem is None else (None, problem)

    def finish(self) -> None:
        """Does nothing: a list has no end."""


class _LinksPage:
    """Collects the links of a page."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._links = list[Link]()

    def write(self, batch: RowBatch[Link]) -> Sequence[Link]:
        """Takes some links, but for those of empty objects that mark folders."""
        batch.check(self._problem)
        links = [link for link in batch.rows if _has_file(link)]
        self._links += links
        _check_count(self._links)
        return links

    @staticmethod
    def _problem(link: Link) -> _Problem | None:
        if link.method != "GET":
            return "method", f"a {link.method} link, and a page takes GET links, or upload forms of bulkpresign post"
        if link.headers:
            return "headers", f"a browser does not send the headers that this link needs: {', '.join(link.headers)}"
        return _problem(link) or _url_problem(link)

    def finish(self) -> None:
        """Writes the page."""
        self._output.write(links_page(self._links).encode())


class FormsPage:
    """Collects the upload forms of a page."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._posts = list[Post]()

    def write(self, batch: RowBatch[Post]) -> Sequence[Post]:
        """Takes some forms."""
        batch.check(_form_problem)
        self._posts += batch.rows
        _check_count(self._posts)
        return batch.rows

    def finish(self) -> None:
        """Writes the page."""
        self._output.write(forms_page(self._posts).encode())


class _ManifestWriter:
    """Writes a manifest of ours, which holds every link, or a list of urls."""

    def __init__(self, kind: str, output: Output, file: str, columns: Sequence[str]) -> None:
        self._kind, self._writer = kind, link_writer(output, file, kind, columns)

    def write(self, batch: RowBatch[Link]) -> Sequence[Link]:
        """Writes some links."""
        if self._kind == _URLS:
            batch.check(_url_problem)
        self._writer.write(batch.rows)
        return batch.rows

    def finish(self) -> None:
        """Ends the manifest."""
        self._writer.finish()


def _has_file(link: Link) -> bool:
    return not link.object.is_folder_marker


def _check_count(rows: Sequence[object]) -> None:
    if len(rows) > MOST_ROWS:
        raise ParameterError(f"a page has {MOST_ROWS:,} rows at most: bulkpresign split makes several manifests")


def _problem(link: Link) -> _Problem | None:
    """The reason why no other tool can use a link, or None."""
    if upload_id_of(link.object):
        return "upload_id", "a part of an upload, which takes several links: bulkpresign put sends it"
    if (link.object.extra or {}).get(DST_URL):
        return DST_URL, "a copy takes two links: bulkpresign copy makes it"
    if missing := missing_headers(link):
        return "headers", f"the link is signed with headers that the row does not have: {', '.join(missing)}"
    return None


def _url_problem(link: Link) -> _Problem | None:
    """The reason why a browser would ask for another key than that of the link, or None."""
    if _DOTS.search(without_query(link.url)):
        problem = "browsers and wget drop '.' and '..' of a url's path, and ask for another key"
        return "url", f"{problem}: write .csv or .curl"
    return None


def _form_problem(post: Post) -> _Problem | None:
    problem = form_problem(post)
    return None if problem is None else ("fields", problem)
