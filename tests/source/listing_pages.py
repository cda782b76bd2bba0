"""A bucket in memory that gives its listing by pages, as S3 does (docs: "ListObjectsV2")."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bulkpresign.source.page import Page


def page_of(
    keys: Iterable[str],
    prefixes: Iterable[str] = (),
    next_page: Mapping[str, str] | None = None,
    *,
    version_ids: Iterable[str] | None = None,
    entries: Iterable[str] | None = None,
) -> Page:
    """A page of objects whose sizes are the lengths of their keys. `entries` are its keys if they are not given."""
    keys = list(keys)
    sizes: list[int | None] = [len(key) for key in keys]
    nothing = [None] * len(keys)
    versions = nothing if version_ids is None else list(version_ids)
    listed = keys if entries is None else list(entries)
    return Page(keys, sizes, nothing, nothing, versions, list(prefixes), next_page, listed)


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


class VersionedBucket:
    """A bucket with versions and delete markers (docs: "ListObjectVersions").

    `counts` are the keys, each with the number of its versions. `version_id` is that of a version, from 0 on; the even
    ones are delete markers, but for the only one of a key. With `is_inclusive`, a key marker without a version begins
    with the versions of its key, as in Ceph. With `markers_last`, a page has its delete markers after its objects.
    `order` sorts keys.
    """

    def __init__(
        self,
        counts: Mapping[str, int],
        most: int,
        *,
        is_inclusive: bool = False,
        markers_last: bool = False,
        order: Callable[[str], Any] = lambda key: key,
    ) -> None:
        self._entries = [(key, number) for key in sorted(counts, key=order) for number in range(counts[key])]
        self._counts = counts
        self._most, self._is_inclusive, self._markers_last = most, is_inclusive, markers_last
        self._order = order
        self.requests: list[Mapping[str, str]] = []

    @property
    def objects(self) -> list[tuple[str, str]]:
        """The key and version of each object, in the order of a listing."""
        return [(key, f"{number}") for key, number in self._entries if self._is_object(key, number)]

    def _is_object(self, key: str, number: int) -> bool:
        return number % 2 == 1 or self._counts[key] == 1

    async def fetch(self, query: Mapping[str, str]) -> Page:
        """One page."""
        self.requests.append(dict(query))
        prefix, delimiter = query["prefix"], query.get("delimiter")
        marker, version = query.get("key-marker", ""), query.get("version-id-marker")
        number_of_marker = (-1.0 if self._is_inclusive else math.inf) if version is None else float(version)
        least = (self._order(marker), number_of_marker)
        found: dict[tuple[str, int], bool] = {}  # each with whether it is a prefix
        for key, number in self._entries:
            end = key.find(delimiter, len(prefix)) + 1 if delimiter and key.startswith(prefix) else 0
            if key.startswith(prefix) and (self._order(key), number) > least and not (end and key[:end] == marker):
                found[(key[:end], 0) if end else (key, number)] = bool(end)
        page = list(found)[: int(query.get("max-keys", self._most))]
        listed = [entry for entry in page if not found[entry]]
        objects = [(key, number) for key, number in listed if self._is_object(key, number)]
        if self._markers_last:
            listed = sorted(listed, key=lambda entry: not self._is_object(*entry))
        next_page = None
        if len(found) > len(page):
            key, number = page[-1]
            version_marker = {} if found[key, number] else {"version-id-marker": f"{number}"}
            next_page = {"key-marker": key, **version_marker}
        return page_of(
            [key for key, _ in objects],
            [key for key, _ in page if found[key, _]],
            next_page,
            version_ids=[f"{number}" for _, number in objects],
            entries=[key for key, _ in listed],
        )
