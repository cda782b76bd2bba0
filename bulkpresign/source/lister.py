"""Lists everything under a prefix: page by page, and several sub-prefixes at a time where the listing is long.

A listing is a row of sections, in the order of keys. Each section is listed by one request after another, and several
sections at a time. If the pages of a section stay within one sub-prefix, such as `2026/`, the rest of the section is
split: into the rest of that sub-prefix, and the sub-prefixes after it, which a request with a delimiter finds.

A listing of one page is one request.
"""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence

import anyio

from bulkpresign.errors import ListingError
from bulkpresign.source.page import Page, end_of

#: Requests of one listing in flight.
CONCURRENCY = 16
#: Objects that are requested or wait to be passed on, at most. A page has 1,000.
_MOST_HELD = 2 * CONCURRENCY * 1000
_PAGE = 1000
#: Sub-prefixes are listed by themselves while a request gives this many objects on average.
_LEAST_PER_REQUEST = 200
_DELIMITER = "/"

#: Requests one page of a listing, with some query parameters.
FetchPage = Callable[[Mapping[str, str]], Awaitable[Page]]


class Lister:
    """One listing of all objects under a prefix. `pages` gives its pages; `stop` ends its requests.

    With `is_parallel` False, the requests are sent one after another.
    """

    def __init__(self, fetch: FetchPage, prefix: str, *, is_parallel: bool = True) -> None:
        self._fetch = fetch
        self._is_parallel = is_parallel
        self._sections = [_Section(prefix)]
        self._tasks: dict[asyncio.Future[Page], _Section] = {}
        self._held = 0  # objects that wait to be passed on
        self._objects = self._requests = 0

    async def pages(self) -> AsyncGenerator[Page, None]:
        """All pages that have objects, in the order of keys. Raises what `fetch` raises, and ListingError."""
        try:
            while self._sections:
                self._send_requests()
                first = self._sections[0]
                if first.pages:
                    page = first.pages.popleft()
                    self._held -= len(page.keys)
                    yield page
                elif first.is_complete:
                    del self._sections[0]
                else:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in [task for task in self._tasks if task.done()]:
                        self._take(self._tasks.pop(task), task.result())
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Cancels the requests in flight, and waits until they have ended."""
        tasks = list(self._tasks)
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.gather(*tasks, return_exceptions=True)

    def _send_requests(self) -> None:
        """Requests the next page of each section, from the first one on, while there is room for its objects.

        The first section needs no room: the others wait for it.
        """
        for section in self._sections:
            has_room = self._held + len(self._tasks) * _PAGE < _MOST_HELD or section is self._sections[0]
            if len(self._tasks) >= CONCURRENCY or not has_room:
                return
            if not (section.is_complete or section.is_requested):
                if section.has_delimiter and not self._are_sub_prefixes_large:
                    section.list_without_delimiter()
                section.is_requested = True
                self._tasks[asyncio.ensure_future(self._fetch(section.query))] = section

    def _take(self, section: "_Section", page: Page) -> None:
        self._requests += 1
        self._objects += len(page.keys)
        self._held += len(page.keys)
        section.advance(page)
        at = self._sections.index(section)
        if section.has_delimiter:
            self._sections[at:at] = _level(page)
            return
        if page.keys:
            section.pages.append(page)
        if not section.is_complete and self._can_split and (prefix := _large_sub_prefix(section.prefix, page.keys)):
            self._sections[at + 1 : at + 1] = section.split(prefix, page.keys[-1])

    @property
    def _can_split(self) -> bool:
        """True if there are too few sections for all requests that may be in flight, and sub-prefixes are large."""
        left = sum(not section.is_complete for section in self._sections)
        return self._is_parallel and self._are_sub_prefixes_large and left < CONCURRENCY

    @property
    def _are_sub_prefixes_large(self) -> bool:
        """False if the requests give few objects: then no more sub-prefixes are listed by themselves."""
        return self._objects >= self._requests * _LEAST_PER_REQUEST


class _Section:
    """A part of a listing: the keys under a prefix, from a position on. `pages` wait to be passed on.

    With `has_delimiter`, sub-prefixes are listed instead of the keys under them.
    """

    def __init__(self, prefix: str, start_after: str = "", *, has_delimiter: bool = False) -> None:
        self.prefix, self.has_delimiter = prefix, has_delimiter
        self.pages: deque[Page] = deque()
        self.is_complete = self.is_requested = False
        self._start_after = self._last_entry = start_after
        self._position: Mapping[str, str] = {"start-after": start_after} if start_after else {}
        # Brent's algorithm: a server that repeats positions comes back to a marked one, however long its cycle is.
        self._marked: Mapping[str, str] = self._position
        self._count, self._next_mark = 0, 1

    @classmethod
    def listed(cls, page: Page) -> "_Section":
        """A complete section of one page."""
        section = cls("")
        section.pages.append(page)
        section.is_complete = True
        return section

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters of the next page."""
        delimiter = {"delimiter": _DELIMITER} if self.has_delimiter else {}
        return {"prefix": self.prefix, **delimiter, **self._position}

    def advance(self, page: Page) -> None:
        """Moves to the position after a page. Raises ListingError for a page that is not the one that was requested."""
        self._check(page)
        self.is_requested = False
        if page.next_page is None:
            self.is_complete = True
            return
        self._position = page.next_page
        if self.has_delimiter:
            self._last_entry = _last_entry(page)
        if self._position == self._marked:
            raise ListingError("the server gives the same position twice, so the listing would never end")
        self._count += 1
        if self._count == self._next_mark:
            self._marked, self._next_mark = self._position, 2 * self._next_mark

    def split(self, prefix: str, last_key: str) -> "list[_Section]":
        """Ends this section after a key. Returns those that follow: the rest of a sub-prefix, and what is after it."""
        self.is_complete = True
        return [_Section(prefix, last_key), _Section(self.prefix, end_of(prefix), has_delimiter=True)]

    def list_without_delimiter(self) -> None:
        """Goes on without a delimiter: each sub-prefix holds too few objects for requests of its own."""
        if self._last_entry:
            self.has_delimiter = False
            self._start_after = self._last_entry
            self._position = {"start-after": self._start_after}

    def _check(self, page: Page) -> None:
        """Raises ListingError for a key outside of the prefix, and for what `start-after` leaves out."""
        outside = next((key for key in page.keys if not key.startswith(self.prefix)), None)
        if outside is not None:
            raise ListingError(f"the server lists {outside!r}, which is not under the prefix")
        after = self._start_after
        if after and (after in page.keys or after in map(end_of, page.prefixes)):
            raise ListingError(f"the server lists {after!r} again: it does not support start-after")


def _level(page: Page) -> Iterable[_Section]:
    """The sections of a page of a listing with a delimiter, in the order of keys: objects, and each sub-prefix."""
    start = 0
    for prefix in sorted(page.prefixes):
        end = max(start, bisect_left(page.keys, prefix))
        if start < end:
            yield _Section.listed(page.part(start, end))
        yield _Section(prefix)
        start = end
    if start < len(page.keys):
        yield _Section.listed(page.part(start, len(page.keys)))


def _last_entry(page: Page) -> str:
    """The text after which a listing goes on after a page with a delimiter, empty if that is not known.

    SeaweedFS lists folder by folder, `a/b` before `a-b`. If its order and that of keys have different last entries, the
    page does not tell which order it has.
    """
    entries = [*page.keys, *page.prefixes]
    last = max(entries, default="")
    if last != max(entries, key=lambda entry: entry.split(_DELIMITER), default=""):
        return ""
    return end_of(last) if last in page.prefixes else last


def _large_sub_prefix(prefix: str, keys: Sequence[str]) -> str | None:
    """The sub-prefix in which the second half of a page's keys lies, None if there is none."""
    end = keys[-1].find(_DELIMITER, len(prefix)) + 1 if keys else 0
    return keys[-1][:end] if end and keys[len(keys) // 2].startswith(keys[-1][:end]) else None
