"""Lists everything under a prefix: page by page, and several sections at a time where the listing is long.

A listing is a row of sections, in the order of keys. Each section is listed by one request after another, and several
sections at a time. If the pages of a section stay within one sub-prefix, such as `2026/`, the rest of the section is
split: into the rest of that sub-prefix, and the sub-prefixes after it, which a request with a delimiter finds. Else it
is split at points, between which about a page of keys is expected: see `key_space`. No more lies ahead of the first
section than memory may hold, so points that are near are worth more than those that halve what is left.

A listing of versions is split in the same places. Its delete markers are not passed on, but count as what requests
give. No section begins or ends between two versions of one key, but where a page does.

A listing of one page is one request.
"""

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence

from bulkpresign.errors import ListingError
from bulkpresign.source.key_space import DELIMITER
from bulkpresign.source.page import KEY_MARKER, START_AFTER, VERSION_MARKER, Page, end_of
from bulkpresign.source.points import Points, Probe
from bulkpresign.tasks import wait_ended

#: Requests of one listing in flight.
CONCURRENCY = 16
#: Objects that are requested or wait to be passed on, at most. A page has 1,000.
_MOST_HELD = 2 * CONCURRENCY * 1000
_PAGE = 1000
#: Sub-prefixes are listed by themselves while a request gives this many objects on average.
_LEAST_PER_REQUEST = 200
#: Shorter listings, in requests, are not split at points.
_LONG = 8
#: Listings are split at points while a request gives this many objects on average: else the guesses are bad.
_LEAST_OF_POINTS = 500

#: Requests one page of a listing, with some query parameters.
FetchPage = Callable[[Mapping[str, str]], Awaitable[Page]]


class Lister:
    """One listing of all objects under a prefix. `pages` gives its pages; `stop` ends its requests.

    `all_versions` tells what `fetch` gives. With `is_parallel` False, the requests are sent one after another.
    """

    def __init__(self, fetch: FetchPage, prefix: str, *, all_versions: bool = False, is_parallel: bool = True) -> None:
        self._fetch = fetch
        self._is_parallel = is_parallel
        self._after = KEY_MARKER if all_versions else START_AFTER
        self._sections = [_Section(prefix, self._after)]
        self._tasks: dict[asyncio.Future[Page], _Section | Probe] = {}
        self._points = Points(self._after)
        self._held = 0  # objects that wait to be passed on
        self._entries = self._requests = 0

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
                        asked = self._tasks.pop(task)
                        if isinstance(asked, Probe):
                            self._points.learn(asked, task.result())
                        else:
                            self._take(asked, task.result())
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Cancels the requests in flight, and waits until they have ended."""
        tasks = list(self._tasks)
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await wait_ended(tasks)

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
        page = section.advance(page)
        self._requests += 1
        self._entries += len(page.entries)
        self._held += len(page.keys)
        at = self._sections.index(section)
        if section.has_delimiter:
            self._sections[at:at] = _level(page, self._after)
            return
        if page.keys:
            section.pages.append(page)
        room = self._room_for_sections
        if not section.is_complete and room and page.entries:
            if prefix := _large_sub_prefix(section.prefix, page):
                self._sections[at + 1 : at + 1] = section.split(prefix, page)
            elif self._requests >= _LONG and self._entries >= self._requests * _LEAST_OF_POINTS:
                self._sections[at + 1 : at + 1] = self._split_at_points(section, page.entries, room)

    def _split_at_points(self, section: "_Section", keys: Sequence[str], room: int) -> "list[_Section]":
        """Splits a section after a page, as far as its server is shown to allow that."""
        last, prefix = keys[-1], section.prefix
        points = self._points.after(keys, prefix, section.stop, min(room, self._requests // 2))
        for probe in self._points.probes(points, last, prefix):
            self._tasks[asyncio.ensure_future(self._fetch(probe.query))] = probe
        return section.split_at(self._points.safe(points, last, prefix))

    @property
    def _room_for_sections(self) -> int:
        """How many more sections would keep all requests in flight, 0 if the requests give few objects."""
        left = sum(not section.is_complete for section in self._sections)
        return max(0, CONCURRENCY - left) if self._is_parallel and self._are_sub_prefixes_large else 0

    @property
    def _are_sub_prefixes_large(self) -> bool:
        """False if the requests give few objects: then no more sub-prefixes are listed by themselves."""
        return self._entries >= self._requests * _LEAST_PER_REQUEST


class _Section:
    """A part of a listing: the keys under a prefix, from a position on. `pages` wait to be passed on.

    `after` is the query parameter with the text after which a section begins, or goes on. Keys after `stop` belong to
    the next section. With `has_delimiter`, sub-prefixes are listed instead of the keys under them. With `is_point`,
    `start_after` is a guess, and no key up to it may come.
    """

    def __init__(
        self,
        prefix: str,
        after: str,
        start_after: str = "",
        *,
        stop: str | None = None,
        has_delimiter: bool = False,
        is_point: bool = False,
    ) -> None:
        self.prefix, self.stop, self.has_delimiter = prefix, stop, has_delimiter
        self._after, self._is_point = after, is_point
        self.pages: deque[Page] = deque()
        self.is_complete = self.is_requested = False
        self._begin({after: start_after} if start_after else {})
        self._without_delimiter = self._position  # the position without a delimiter, empty where it is not known
        # Brent's algorithm: a server that repeats positions comes back to a marked one, however long its cycle is.
        self._marked: Mapping[str, str] = self._position
        self._count, self._next_mark = 0, 1

    def _begin(self, position: Mapping[str, str]) -> None:
        self._position = position
        self._start_after = "" if VERSION_MARKER in position else position.get(self._after, "")

    @classmethod
    def listed(cls, page: Page) -> "_Section":
        """A complete section of one page."""
        section = cls("", "")
        section.pages.append(page)
        section.is_complete = True
        return section

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters of the next page."""
        delimiter = {"delimiter": DELIMITER} if self.has_delimiter else {}
        return {"prefix": self.prefix, **delimiter, **self._position}

    def advance(self, page: Page) -> Page:
        """Moves to the position after a page, and returns what of the page belongs to this section.

        Raises ListingError for a page that is not the one that was requested.
        """
        self._check(page)
        self.is_requested = False
        own = page if self.stop is None else page.up_to(self.stop)
        self.is_complete = page.next_page is None or own is not page
        if page.next_page is not None and not self.is_complete:
            self._go_to(page.next_page, page)
        return own

    def _go_to(self, position: Mapping[str, str], page: Page) -> None:
        self._position = position
        if self.has_delimiter:
            self._without_delimiter = _without_delimiter(position, page)
        if self._position == self._marked:
            raise ListingError("the server gives the same position twice, so the listing would never end")
        self._count += 1
        if self._count == self._next_mark:
            self._marked, self._next_mark = self._position, 2 * self._next_mark

    def split(self, prefix: str, page: Page) -> "list[_Section]":
        """Ends this section after a page. Returns those that follow: the rest of a sub-prefix, and what is after it."""
        self.is_complete, stop = True, self.stop
        rest = _Section(prefix, self._after, page.entries[-1], stop=stop)
        if page.next_page is not None and KEY_MARKER in page.next_page:  # also in the middle of the versions of a key
            rest._begin(page.next_page)
        return [rest, _Section(self.prefix, self._after, end_of(prefix), stop=stop, has_delimiter=True)]

    def split_at(self, points: Sequence[str]) -> "list[_Section]":
        """Ends this section at the first of some points, if there is one. Returns those that follow."""
        if not points:
            return []
        stops, self.stop = [*points[1:], self.stop], points[0]
        return [
            _Section(self.prefix, self._after, point, stop=stop, is_point=True)
            for point, stop in zip(points, stops, strict=True)
        ]

    def list_without_delimiter(self) -> None:
        """Goes on without a delimiter: each sub-prefix holds too few objects for requests of its own."""
        if self._without_delimiter:
            self.has_delimiter = False
            self._begin(self._without_delimiter)

    def _check(self, page: Page) -> None:
        """Raises ListingError for a key outside of the prefix, and for what the position leaves out."""
        # A text between two that begin with the prefix begins with it too.
        ends = (min(page.entries), max(page.entries)) if page.entries else ()
        for key in ends:
            if not key.startswith(self.prefix):
                raise ListingError(f"the server lists {key!r}, which is not under the prefix")
        after = self._start_after
        if after and (after in page.entries or after in map(end_of, page.prefixes)):
            raise ListingError(f"the server lists {after!r} again: it does not support {self._after}")
        if self._is_point and ends and ends[0] <= after:
            raise ListingError(f"the server lists {ends[0]!r} after {after!r}: its keys have another order")


def _level(page: Page, after: str) -> Iterable[_Section]:
    """The sections of a page of a listing with a delimiter, in the order of keys: objects, and each sub-prefix."""
    start = 0
    for prefix in sorted(page.prefixes):
        end = max(start, bisect_left(page.keys, prefix))
        if start < end:
            yield _Section.listed(page.part(start, end))
        yield _Section(prefix, after)
        start = end
    if start < len(page.keys):
        yield _Section.listed(page.part(start, len(page.keys)))


def _without_delimiter(position: Mapping[str, str], page: Page) -> Mapping[str, str]:
    """The position at which a listing goes on without a delimiter after a page with one, empty if that is not known.

    `position` is that with the delimiter. A key marker is a key of the page, or a prefix, under which all is listed.

    SeaweedFS lists folder by folder, `a/b` before `a-b`. If its order and that of keys have different last entries, the
    page does not tell which order it has.
    """
    if marker := position.get(KEY_MARKER):
        prefix = next((prefix for prefix in page.prefixes if marker.startswith(prefix)), None)
        return position if prefix is None else {KEY_MARKER: end_of(prefix)}
    entries = [*page.keys, *page.prefixes]
    last = max(entries, default="")
    if last != max(entries, key=lambda entry: entry.split(DELIMITER), default=""):
        return {}
    return {START_AFTER: end_of(last) if last in page.prefixes else last}


def _large_sub_prefix(prefix: str, page: Page) -> str | None:
    """The sub-prefix in which the second half of a page's entries lies, None if there is none."""
    entries, last = page.entries, page.entries[-1]
    if page.next_page is not None:
        last = page.next_page.get(KEY_MARKER, last)
    end = last.find(DELIMITER, len(prefix)) + 1
    return last[:end] if end and entries[len(entries) // 2].startswith(last[:end]) else None
