"""A bucket in memory that gives its listing by pages, as S3 does (docs: "ListObjectsV2")."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bulkpresign.source.page import Page


def page_of(keys: Iterable[str], prefixes: Iterable[str] = (), next_page: Mapping[str, str] | None = None) -> Page:
    """A page of objects whose sizes are the lengths of their keys."""
    keys = list(keys)
    sizes: list[int | None] = [len(key) for key in keys]
    return Page(keys, sizes, [None] * len(keys), [None] * len(keys), [None] * len(keys), list(prefixes), next_page)


class ListedBucket:
    """A bucket with some keys. `most` is the number of entries of a page; `requests` are all that came.

    `order` sorts entries; that of S3 is the order of their UTF-8, which is Python's order of strings.
    """

    def __init__(self, keys: Iterable[str], most: int, order: Callable[[str], Any] = lambda key: key) -> None:
        self._order = order
        self._keys = sorted(keys, key=order)
        self._most = most
        self.requests: list[Mapping[str, str]] = []
        self.given = 0  # objects

    async def fetch(self, query: Mapping[str, str]) -> Page:
        """One page."""
        self.requests.append(dict(query))
        prefix, delimiter = query["prefix"], query.get("delimiter")
        after = query.get("continuation-token") or query.get("start-after") or ""
        entries: dict[str, bool] = {}  # each with whether it is a prefix
        for key in self._keys:
            if not key.startswith(prefix):
                continue
            end = key.find(delimiter, len(prefix)) + 1 if delimiter else 0
            is_listed = bool(end) and query.get("continuation-token") == key[:end]
            if self._order(key) > self._order(after) and not is_listed:
                entries[key[:end] if end else key] = bool(end)
        names = list(entries)[: self._most]
        self.given += sum(not entries[name] for name in names)
        return page_of(
            [name for name in names if not entries[name]],
            [name for name in names if entries[name]],
            {"continuation-token": names[-1]} if len(entries) > self._most else None,
        )
