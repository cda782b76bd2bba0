"""Compares what copies keep beside the bytes: content type, caching headers, metadata and tags.

Listings do not tell these, so servers are asked for each object whose bytes are the same: by a HEAD request on both
sides, and by one more for its tags, if it has some.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack, suppress
from email.header import decode_header, make_header
from itertools import islice
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel
import msgspec

from bulkpresign.errors import BreakerError, ParameterError, RefusedError
from bulkpresign.events import Event, Listener, ObjectFinished
from bulkpresign.http.client import HttpClient
from bulkpresign.model import ObjectRef, Outcome
from bulkpresign.pipeline.rows.head import AddColumns
from bulkpresign.pipeline.run.object_tags import read_tags
from bulkpresign.pipeline.verification.differences import Results
from bulkpresign.pipeline.verification.entries import Entry, key_of, path_of
from bulkpresign.pipeline.verification.sides import ObjectSide, Side
from bulkpresign.proof.files import UNPROVEN
from bulkpresign.proof.merge import merged
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables.sorting import Keyed, KeySorter
from bulkpresign.tasks import ungrouped
from bulkpresign.text import counted
from bulkpresign.transfer.copies.head import kept_headers
from bulkpresign.transfer.copies.tags import has_tags

_BATCH = 64
#: The column with the metadata of an object.
_METADATA = "metadata"
#: The name of the tags among the headers.
_TAGS = "tags"
#: Differences that a message names, and characters of a value.
_NAMED, _SHOWN = 3, 60
_DIFFERENT = "MetadataMismatch"


class _Told(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The metadata of an object, by header."""

    metadata: dict[str, str]


class MetadataComparer:
    """Compares the metadata of objects whose bytes are the same. Use as a context manager.

    `results` gets no such object until `run`. Raises ParameterError for a side without servers, such as a folder.
    """

    def __init__(self, sides: tuple[Side, Side], results: Results, emit: Listener) -> None:
        self._sides = [side for side in sides if isinstance(side, ObjectSide)]
        if len(self._sides) < len(sides):
            raise ParameterError("metadata is compared between objects on servers: files have none")
        self._results, self._emit = results, emit
        self._same = KeySorter(Outcome)
        self._told = KeySorter(_Told), KeySorter(_Told)
        self._stack = ExitStack()

    def __enter__(self) -> "MetadataComparer":
        for sorter in (self._same, *self._told):
            self._stack.enter_context(sorter)
        self._results.hold = self._hold
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._results.hold = None
        self._stack.close()

    def _hold(self, outcome: Outcome) -> None:
        self._same.add([(key_of(outcome.object.file_path), outcome)])

    async def run(self) -> None:
        """Asks for the metadata of all objects that were held back, and gives their results."""
        with ungrouped():
            async with anyio.create_task_group() as group:
                for number, side in enumerate(self._sides):
                    group.start_soon(self._ask, side, number)
        self._results.hold = None
        for number, (outcome, one, other) in enumerate(self._compared()):
            self._take(outcome, one, other)
            if number % _BATCH == 0:
                await anyio.lowlevel.checkpoint()

    async def _ask(self, side: ObjectSide, number: int) -> None:
        def take(refs: list[ObjectRef]) -> None:
            told = self._told[number]
            told.add([(key_of(ref.file_path), _Told((ref.extra or {})[_METADATA])) for ref in refs])

        with suppress(BreakerError):  # the objects that nobody tells of are unproven
            await side.ask_heads(self._refs(number), take, self._listen, _adding_metadata)

    async def _refs(self, number: int) -> AsyncGenerator[list[ObjectRef], None]:
        """The objects of one side whose bytes are those of the other side."""
        rows = iter(merged(self._same, self._sides[number]))
        while batch := list(islice(rows, _BATCH)):
            same = [(key, entry) for key, outcome, entry in batch if outcome is not None and entry is not None]
            if refs := [entry.ref(path_of(key)) for key, entry in same if _can_be_asked(entry)]:
                yield refs
            await anyio.lowlevel.checkpoint()

    def _listen(self, event: Event) -> None:
        if not isinstance(event, ObjectFinished):
            self._emit(event)

    def _compared(self) -> Iterator[tuple[Outcome, _Told | None, _Told | None]]:
        first: Iterator[Keyed[tuple[Outcome, _Told | None]]] = (
            (key, (outcome, told)) for key, outcome, told in merged(self._same, self._told[0]) if outcome is not None
        )
        for _, one, other in merged(first, self._told[1]):
            assert one is not None  # noqa: S101 - nothing else was asked for
            yield *one, other

    def _take(self, outcome: Outcome, one: _Told | None, other: _Told | None) -> None:
        if one is None or other is None:
            lacking = self._sides[0 if one is None else 1].name
            self._results.fail(outcome.object, UNPROVEN, f"{lacking} does not tell its metadata or tags")
        elif difference := metadata_difference(one.metadata, other.metadata):
            self._results.fail(outcome.object, _DIFFERENT, difference)
        else:
            self._results.add(outcome)


def metadata_difference(one: Mapping[str, str], other: Mapping[str, str]) -> str | None:
    """What differs between the metadata of two objects, by header; None where it is the same."""
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    said = [f"{name} is {_shown(other.get(name))} where there is {_shown(one.get(name))}" for name in names[:_NAMED]]
    more = [f"{counted(len(names) - _NAMED, 'more header')} differ"] if len(names) > _NAMED else []
    return "; ".join([*said, *more]) or None


def _shown(value: str | None) -> str:
    if value is None:
        return "none"
    return repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}...")


def _can_be_asked(entry: Entry) -> bool:
    """True for an object that is asked for with credentials; links are for their own requests alone."""
    return entry.link is None and bool(entry.stored.bucket and entry.stored.key)


def _adding_metadata(presigner: Presigner, http: HttpClient) -> AddColumns:
    """Adds the metadata of an object to its row, by the headers of a response."""

    async def added(ref: ObjectRef, headers: Mapping[str, str]) -> ObjectRef:
        metadata = {name: _decoded(value) for name, value in kept_headers(headers).items()}
        if has_tags(headers):
            (link,) = presigner.sign_batch([ref])
            tags = await read_tags(presigner, http, link)
            if tags is None:
                raise RefusedError(f"the tags of {ref.uri} are not told", code="NotTold")
            metadata[_TAGS] = _sorted(tags)
        return msgspec.structs.replace(ref, extra={_METADATA: metadata})

    return added


def _decoded(value: str) -> str:
    """The text of a header. AWS encodes it by RFC 2047 where it is not ASCII, others send UTF-8."""
    if not value.startswith("=?"):
        return value
    try:
        return str(make_header(decode_header(value)))
    except (LookupError, ValueError):
        return value


def _sorted(tags: str) -> str:
    """Tags as text, in the order of their names: servers have their own order."""
    return ", ".join(f"{name}={value}" for name, value in sorted(parse_qsl(tags, keep_blank_values=True)))
