"""A batch of links with one signing time.

The rows are grouped by bucket, region and the names of their own settings. A group shares one Signer, even if the
values differ. Most batches have no settings of their own; they are signed without a look at each row.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import repeat
from operator import attrgetter, itemgetter
from typing import NamedTuple, TypeVar

import msgspec

from bulkpresign.errors import ParameterError
from bulkpresign.model import Link, ObjectRef
from bulkpresign.signing.endpoint import Endpoint
from bulkpresign.signing.options import (
    CREATING,
    OPTION_COLUMNS,
    LinkOptions,
    headers_of,
    query_of,
    row_settings,
    run_settings,
)
from bulkpresign.signing.preserved import PreservedSettings, replaced_by, without_replaced
from bulkpresign.signing.sigv4 import Signer, SigningCredentials
from bulkpresign.signing.values import REGION, option_problem

T = TypeVar("T")
Item = TypeVar("Item")

_BUCKET, _EXTRA, _VERSION = attrgetter("bucket"), attrgetter("extra"), attrgetter("version_id")
_CONTENT_TYPE, _CHECKSUM = attrgetter("content_type"), attrgetter("checksum")
_NOTHING: Mapping[str, str] = {}


class _Row(NamedTuple):
    """An object and the settings of its own link. The first five fields are its group."""

    bucket: str
    region: str | None
    names: tuple[str, ...]
    query_names: tuple[str, ...]
    header_names: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    ref: ObjectRef


_GROUP = itemgetter(slice(5))


def _preserved_row(ref: ObjectRef, preserved: PreservedSettings) -> _Row:
    """The row of an object without settings of its own: all settings of its old link are preserved."""
    query, headers = preserved
    return _Row(ref.bucket, None, (), tuple(query), tuple(headers), query, headers, ref)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Signs links with the same method, time and options. `end` is when they expire; `expires_in` is in seconds.

    `headers` and `query` are added to all links, like `options`.
    """

    method: str
    credentials: SigningCredentials
    now: datetime
    expires_in: int
    end: datetime
    endpoint_of: Callable[[str, str | None], Endpoint]
    headers: Mapping[str, str]
    query: Mapping[str, str]
    options: LinkOptions

    def links(self, refs: Sequence[ObjectRef]) -> list[Link]:
        """One link per object, in order. Raises ParameterError for an object whose own settings are not valid."""
        if self._are_plain(refs):
            return grouped(refs, _BUCKET, self._plain_links)
        return grouped([self._row(ref) for ref in refs], _GROUP, self._own_links)

    def _are_plain(self, refs: Sequence[ObjectRef]) -> bool:
        """True if only bucket and key differ. Checking whole columns takes a tenth of the time of checking each row."""
        if any(map(_VERSION, refs)) or self._filename_of_each is not None:
            return False
        if self.method in CREATING and (any(map(_CONTENT_TYPE, refs)) or any(map(_CHECKSUM, refs))):
            return False
        columns = set().union(*filter(None, map(_EXTRA, refs)))
        return columns.isdisjoint((REGION, *OPTION_COLUMNS[self.method]))

    def renewed_links(self, refs: Sequence[ObjectRef], preserved: Sequence[PreservedSettings]) -> list[Link]:
        """The same, with the settings of an old link for each object. Settings of rows and options override them."""
        if not any(one.query or one.headers for one in preserved):
            return self.links(refs)
        options = tuple(name for name, _ in self.options.given)
        is_free = not (options or self.query or self.headers) and self._are_plain(refs)
        row_of = _preserved_row if is_free else partial(self._merged_row, options)
        return grouped(list(map(row_of, refs, preserved)), _GROUP, self._own_links)

    def _merged_row(self, options: tuple[str, ...], ref: ObjectRef, preserved: PreservedSettings) -> _Row:
        own = self._row(ref)
        prefixes = replaced_by((*own.names, *options))
        query = {**own.query, **without_replaced(preserved.query, prefixes, map(str.lower, self.query))}
        headers = {**own.headers, **without_replaced(preserved.headers, prefixes, map(str.lower, self.headers))}
        return own._replace(query_names=tuple(query), header_names=tuple(headers), query=query, headers=headers)

    @property
    def _filename_of_each(self) -> str | None:
        filename = self.options.filename
        return filename if filename and "{name}" in filename else None

    def _row(self, ref: ObjectRef) -> _Row:
        if ref.version_id and self.method in CREATING:
            raise ParameterError(f"{ref.uri}: a {self.method} can't name a version")
        if not isinstance(ref.version_id, str | None):
            raise TypeError(f"{ref.uri}: version_id is of type {type(ref.version_id).__name__}, not str")
        settings = row_settings(ref, self.method, self._filename_of_each)
        query, headers = query_of(settings, self.method), headers_of(settings, self.method)
        return _Row(ref.bucket, region_of(ref), tuple(settings), tuple(query), tuple(headers), query, headers, ref)

    def _plain_links(self, refs: list[ObjectRef]) -> Iterable[Link]:
        headers, query = self._shared(())
        urls = self._signer(refs[0].bucket, None, headers, query).urls([ref.key for ref in refs])
        return map(Link, repeat(self.method), urls, repeat(headers), repeat(self.end), refs)

    def _own_links(self, rows: list[_Row]) -> Iterable[Link]:
        first = rows[0]
        headers, query = self._shared(first.names, first.query, first.headers)
        are_alike = all(row.headers == first.headers for row in rows)
        if are_alike:
            headers = {**first.headers, **headers}
        signer = self._signer(first.bucket, first.region, headers, query)
        urls = signer.urls(
            [row.ref.key for row in rows],
            {name: [row.query[name] for row in rows] for name in first.query},
            {} if are_alike else {name: [row.headers[name] for row in rows] for name in first.headers},
        )
        sent = repeat(headers) if are_alike else [{**row.headers, **headers} for row in rows]
        return map(Link, repeat(self.method), urls, sent, repeat(self.end), [row.ref for row in rows])

    def _shared(
        self, own: Collection[str], own_query: Mapping[str, str] = _NOTHING, own_headers: Mapping[str, str] = _NOTHING
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The headers and the query that a group of links shares: all that its rows do not override."""
        settings = run_settings(self.options, own)
        headers = _merged("header", self.headers, headers_of(settings, self.method))
        query = _merged("query parameter", self.query, query_of(settings, self.method))
        return _without(headers, own_headers), _without(query, own_query)

    def _signer(self, bucket: str, region: str | None, headers: Mapping[str, str], query: Mapping[str, str]) -> Signer:
        return Signer(
            self.endpoint_of(bucket, region),
            self.credentials,
            self.method,
            now=self.now,
            expires_in=self.expires_in,
            headers=headers,
            query=query,
        )


def region_of(ref: ObjectRef) -> str | None:
    """The region in an object's row, or None. Raises ParameterError for a region that is not valid."""
    region: str | None = (ref.extra.get(REGION) or None) if ref.extra else None
    if region is not None and (problem := option_problem(REGION, region)):
        raise ParameterError(f"{ref.uri}: {problem}")
    return region


def grouped(
    items: Sequence[Item], group_of: Callable[[Item], Hashable], results_of: Callable[[list[Item]], Iterable[T]]
) -> list[T]:
    """The results for all items, in their order. `results_of` is called once per group."""
    keys = list(map(group_of, items))
    if len(set(keys)) == 1:
        return list(results_of(list(items)))
    groups: dict[Hashable, list[Item]] = {}
    for key, item in zip(keys, items, strict=True):
        groups.setdefault(key, []).append(item)
    results = {key: iter(results_of(group)) for key, group in groups.items()}
    return [next(results[key]) for key in keys]


def _merged(what: str, given: Mapping[str, str], made: Mapping[str, str]) -> dict[str, str]:
    """Settings that were given by name, and settings that options made. Names are compared without case.

    Raises ParameterError for a name that is in both.
    """
    lowered = {name.lower() for name in given}
    if twice := [name for name in made if name.lower() in lowered]:
        raise ParameterError(f"{what} {twice[0]} is given twice: by name, and by an option")
    return {**given, **made}


def _without(settings: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    replaced = {name.lower() for name in own}
    return {name: value for name, value in settings.items() if name.lower() not in replaced}
