"""Compares what copies keep beside the bytes: content type, caching headers, metadata and tags.

Listings do not tell these, so servers are asked for each object whose bytes are the same: by a HEAD request, and by one
for its tags, on both sides.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from itertools import islice, takewhile

import anyio
import msgspec

from bulkpresign.checksums import CHANGED
from bulkpresign.errors import BreakerError, ParameterError, RefusedError
from bulkpresign.events import Event, Listener, ObjectFinished
from bulkpresign.model import ObjectRef, Outcome
from bulkpresign.pipeline.rows.head import AddColumns, Heads
from bulkpresign.pipeline.verification.differences import Results
from bulkpresign.pipeline.verification.entries import Entry, Pair, key_of, path_of
from bulkpresign.pipeline.verification.sides import ObjectSide, Side
from bulkpresign.proof.files import UNPROVEN
from bulkpresign.proof.merge import merged
from bulkpresign.redact import without_secrets
from bulkpresign.tables.sorting import Keyed, KeySorter
from bulkpresign.tasks import ungrouped
from bulkpresign.text import counted
from bulkpresign.transfer.copies.head import kept_headers

#: Objects that are asked for before the first of them is compared, and those that are signed at a time.
_BATCH, _SIGNED = 16_384, 64
#: The columns with the metadata of an object, and with its etag as it was compared.
_METADATA, _ETAG = "metadata", "compared_etag"
#: The name of the tags among the headers.
_TAGS = "tags"
#: Differences that a message names, and characters of a value.
_NAMED, _SHOWN = 3, 60
_DIFFERENT = "MetadataMismatch"
#: Text outside of ASCII in a header, by RFC 2047.
_ENCODED = re.compile(r"(=\?(utf-8|us-ascii|iso-8859-1)\?[bq]\?[^?]*\?=\s*)+", re.ASCII | re.IGNORECASE)

#: The metadata of objects by their paths, or why it is not known.
_Told = dict[str, Mapping[str, str] | str]


class MetadataComparer:
    """Compares the metadata of objects whose bytes are the same. Use as a context manager.

    `results` gets no such object until `run`. `are_one` tells of pairs that are one object. Raises ParameterError for a
    side without servers, such as a folder.
    """

    def __init__(
        self, sides: tuple[Side, Side], results: Results, emit: Listener, are_one: Callable[[Pair], bool]
    ) -> None:
        self._sides = [side for side in sides if isinstance(side, ObjectSide)]
        if len(self._sides) < len(sides):
            raise ParameterError("metadata is compared between objects on servers, and one side has none")
        self._results, self._emit, self._are_one = results, emit, are_one
        self._same = KeySorter(Outcome)

    def __enter__(self) -> "MetadataComparer":
        self._same.__enter__()
        self._results.hold = self._hold
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._results.hold = None
        self._same.__exit__(*exc_info)

    def _hold(self, outcome: Outcome) -> None:
        self._same.add([(key_of(outcome.object.file_path), outcome)])

    async def run(self) -> None:
        """Asks for the metadata of all objects that were held back, and gives their results."""
        self._results.hold = None
        rows = self._pairs()
        while batch := list(islice(rows, _BATCH)):
            told: tuple[_Told, _Told] = ({}, {})
            with ungrouped():
                async with anyio.create_task_group() as group:
                    for number, side in enumerate(self._sides):
                        entries = {path: pair.sides[number] for path, _, pair in batch if not self._are_one(pair)}
                        group.start_soon(self._ask, side, entries, told[number])
            for path, outcome, pair in batch:
                self._take(outcome, pair, *(each.get(path, "it was not asked for") for each in told))

    def _pairs(self) -> Iterator[tuple[str, Outcome, Pair]]:
        """The objects that were held back, by their paths, and what both sides have of them."""
        first: Iterator[Keyed[tuple[Outcome, Entry]]] = (
            (key, (outcome, one)) for key, outcome, one in merged(self._same, self._sides[0]) if outcome and one
        )
        for key, same, other in merged(first, self._sides[1]):
            if same is not None and other is not None:
                outcome, one = same
                yield path_of(key), outcome, Pair(one, other)

    async def _ask(self, side: ObjectSide, entries: Mapping[str, Entry], told: _Told) -> None:
        def take(refs: list[ObjectRef]) -> None:
            told.update((ref.file_path, (ref.extra or {})[_METADATA]) for ref in refs)

        def listen(event: Event) -> None:
            if isinstance(event, ObjectFinished):
                told[event.outcome.object.file_path] = event.outcome.message or ""
            else:
                self._emit(event)

        told.update((path, "a link is for its own request alone") for path, entry in entries.items() if entry.link)
        refs = [_marked(entry, path) for path, entry in entries.items() if entry.link is None]
        if refs:
            with suppress(BreakerError):  # the objects that were not asked for are reported as unproven
                await side.ask_heads(_in_batches(refs), take, listen, _adding_metadata)

    def _take(self, outcome: Outcome, pair: Pair, *told: Mapping[str, str] | str) -> None:
        ref = outcome.object
        if self._are_one(pair):
            self._results.fail(ref, UNPROVEN, "both sides are this same object, which has one metadata")
            return
        for side, found in zip(self._sides, told, strict=True):
            if isinstance(found, str):
                self._results.fail(ref, UNPROVEN, f"{side.name} does not tell its metadata: {found}")
                return
        difference = metadata_difference(*(found for found in told if not isinstance(found, str)))
        if difference is not None:
            self._results.fail(ref, _DIFFERENT, difference)
        else:
            self._results.add(outcome)


def metadata_difference(one: Mapping[str, str], other: Mapping[str, str]) -> str | None:
    """A message that names the headers in which two objects differ, with both values. None if they have the same."""
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    said = [_said(name, one.get(name), other.get(name)) for name in names[:_NAMED]]
    more = [f"{counted(len(names) - _NAMED, 'more header')} differ"] if len(names) > _NAMED else []
    return "; ".join([*said, *more]) or None


def _said(name: str, one: str | None, other: str | None) -> str:
    one, other = (None if value is None else without_secrets(value) for value in (one, other))
    same = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one or "", other or "", strict=False)))
    start = max(0, same - _SHOWN // 2)
    return f"{name}: {_shown(other, start)} where there is {_shown(one, start)}"


def _shown(value: str | None, start: int) -> str:
    """The part of a value from `start` on."""
    if value is None:
        return "none"
    stop = start + _SHOWN
    before, after = "..." if start else "", "..." if len(value) > stop else ""
    return repr(f"{before}{value[start:stop]}{after}")


def _marked(entry: Entry, path: str) -> ObjectRef:
    """The object of an entry, with its etag as it was compared."""
    return msgspec.structs.replace(entry.ref(path), extra={**(entry.stored.extra or {}), _ETAG: entry.stored.etag})


async def _in_batches(refs: Sequence[ObjectRef]) -> AsyncGenerator[list[ObjectRef], None]:
    for start in range(0, len(refs), _SIGNED):
        yield list(refs[start : start + _SIGNED])


def _adding_metadata(heads: Heads) -> AddColumns:
    """Adds the metadata of an object to its row, by the headers of a response and a request for its tags."""

    async def added(ref: ObjectRef, headers: Mapping[str, str]) -> ObjectRef:
        extra = dict(ref.extra or {})
        compared = extra.pop(_ETAG)
        if compared is not None and compared != ref.etag:
            raise RefusedError("it changed since it was listed", code=CHANGED)
        metadata = {name: _decoded(value) for name, value in kept_headers(headers).items()}
        if tags := await heads.read_tags(ref):
            metadata[_TAGS] = tags
        return msgspec.structs.replace(ref, extra={_METADATA: metadata})

    return added


def _decoded(value: str) -> str:
    """The text of a header. AWS encodes it by RFC 2047 where it is not ASCII, others send UTF-8."""
    if not _ENCODED.fullmatch(value):
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        return value
