"""One batch of links, signed at one instant: what its rows have in common is computed once.

Objects are of a kind where bucket, region and the names of what they carry of their own are the same; a kind shares one
Signer, however the values differ. Most batches carry nothing of their own, and are spared the look at every row.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import repeat
from operator import attrgetter, itemgetter
from typing import NamedTuple, TypeVar

import msgspec

from bulkpresign.aws import Credentials
from bulkpresign.errors import ParameterError
from bulkpresign.model import Link, ObjectRef
from bulkpresign.signing.endpoint import Endpoint
from bulkpresign.signing.kept import Kept, replaced_by, without_replaced
from bulkpresign.signing.options import (
    CREATING,
    OPTION_COLUMNS,
    LinkOptions,
    headers_of,
    query_of,
    row_settings,
    run_settings,
)
from bulkpresign.signing.sigv4 import Signer
from bulkpresign.signing.values import REGION, option_problem

T = TypeVar("T")
Item = TypeVar("Item")

_BUCKET, _EXTRA, _VERSION = attrgetter("bucket"), attrgetter("extra"), attrgetter("version_id")
_CONTENT_TYPE, _CHECKSUM = attrgetter("content_type"), attrgetter("checksum")
_NOTHING: Mapping[str, str] = {}


class _Row(NamedTuple):
    """An object, and what its link carries of its own; the first five make its kind."""

    bucket: str
    region: str | None
    names: tuple[str, ...]
    query_names: tuple[str, ...]
    header_names: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    ref: ObjectRef


_KIND = itemgetter(slice(5))


def _kept_row(ref: ObjectRef, kept: Kept) -> _Row:
    """The row of an object that has nothing of its own, where nothing takes the place of what its old link had."""
    query, headers = kept
    return _Row(ref.bucket, None, (), tuple(query), tuple(headers), query, headers, ref)


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """How the links of a batch are signed. `end` is when they expire; `expires_in` in seconds.

    `headers` and `query` are what all of them carry beside `options`.
    """

    method: str
    credentials: Credentials
    now: datetime
    expires_in: int
    end: datetime
    endpoint_of: Callable[[str, str | None], Endpoint]
    headers: Mapping[str, str]
    query: Mapping[str, str]
    options: LinkOptions

    def links(self, refs: Sequence[ObjectRef]) -> list[Link]:
        """One link an object, in order. Raises ParameterError for an object whose own settings can't be."""
        if self._are_plain(refs):
            return by_kind(refs, _BUCKET, self._plain_links)
        return by_kind([self._row(ref) for ref in refs], _KIND, self._own_links)

    def _are_plain(self, refs: Sequence[ObjectRef]) -> bool:
        """True where nothing but bucket and key differs; a look at whole columns costs a tenth of one at every row."""
        if any(map(_VERSION, refs)) or self._filename_of_each is not None:
            return False
        if self.method in CREATING and (any(map(_CONTENT_TYPE, refs)) or any(map(_CHECKSUM, refs))):
            return False
        carried = set().union(*filter(None, map(_EXTRA, refs)))
        return carried.isdisjoint((REGION, *OPTION_COLUMNS[self.method]))

    def links_again(self, refs: Sequence[ObjectRef], kept: Sequence[Kept]) -> list[Link]:
        """The same, with what old links had, each for its object. What a row or an option says goes before that."""
        if not any(one.query or one.headers for one in kept):
            return self.links(refs)
        options = tuple(name for name, _ in self.options.given)
        is_free = not (options or self.query or self.headers) and self._are_plain(refs)
        row_of = _kept_row if is_free else partial(self._row_again, options)
        return by_kind(list(map(row_of, refs, kept)), _KIND, self._own_links)

    def _row_again(self, options: tuple[str, ...], ref: ObjectRef, kept: Kept) -> _Row:
        own = self._row(ref)
        beginnings = replaced_by((*own.names, *options))
        query = {**own.query, **without_replaced(kept.query, beginnings, map(str.lower, self.query))}
        headers = {**own.headers, **without_replaced(kept.headers, beginnings, map(str.lower, self.headers))}
        return own._replace(query_names=tuple(query), header_names=tuple(headers), query=query, headers=headers)

    @property
    def _filename_of_each(self) -> str | None:
        filename = self.options.filename
        return filename if filename and "{name}" in filename else None

    def _row(self, ref: ObjectRef) -> _Row:
        if ref.version_id and self.method in CREATING:
            raise ParameterError(f"{ref.uri}: a {self.method} can't name a version")
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
        """The headers and the query that a kind of links shares: all that its rows don't have of their own."""
        settings = run_settings(self.options, own)
        headers = _joined("header", self.headers, headers_of(settings, self.method))
        query = _joined("query parameter", self.query, query_of(settings, self.method))
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
    """The region that an object's row names, or None. Raises ParameterError for what can't be one."""
    region: str | None = (ref.extra.get(REGION) or None) if ref.extra else None
    if region is not None and (problem := option_problem(REGION, region)):
        raise ParameterError(f"{ref.uri}: {problem}")
    return region


def by_kind(
    items: Sequence[Item], kind: Callable[[Item], Hashable], results_of: Callable[[list[Item]], Iterable[T]]
) -> list[T]:
    """`results_of` all items of one kind at a time, in the order of `items`, however the kinds alternate."""
    kinds = list(map(kind, items))
    if len(set(kinds)) == 1:
        return list(results_of(list(items)))
    alike: dict[Hashable, list[Item]] = {}
    for one, item in zip(kinds, items, strict=True):
        alike.setdefault(one, []).append(item)
    results = {one: iter(results_of(some)) for one, some in alike.items()}
    return [next(results[one]) for one in kinds]


def _joined(what: str, given: Mapping[str, str], made: Mapping[str, str]) -> dict[str, str]:
    """What was given by name, and what options make; nothing may be both. Names differ by more than case."""
    lowered = {name.lower() for name in given}
    if twice := [name for name in made if name.lower() in lowered]:
        raise ParameterError(f"{what} {twice[0]} is given twice: by name, and by an option")
    return {**given, **made}


def _without(settings: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    replaced = {name.lower() for name in own}
    return {name: value for name, value in settings.items() if name.lower() not in replaced}
