"""Asks servers by HEAD for what their listings do not tell: checksums of objects, and the sizes of their parts."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, suppress
from itertools import islice

import anyio
import anyio.lowlevel
import msgspec

from bulkpresign.errors import BreakerError
from bulkpresign.events import Event, Listener, ObjectFinished
from bulkpresign.model import ObjectRef
from bulkpresign.pipeline.verification.entries import Entry, Pair, keyed, path_of
from bulkpresign.pipeline.verification.sides import ObjectSide, Side
from bulkpresign.proof.merge import merged
from bulkpresign.tables.sorting import Keyed, KeySorter
from bulkpresign.tasks import ungrouped

_BATCH = 64


class HeadRequests:
    """HEAD requests for the objects of pairs on both sides. Use as a context manager.

    Asked are objects that are listed: a manifest tells what it knows, and there may be no credentials for it. `asked`
    counts them. An object of which a server tells nothing stays as it is: it is read, and that reports the problem.
    """

    def __init__(self, sides: tuple[Side, Side], pairs: KeySorter[Pair], emit: Listener) -> None:
        self._sides, self._pairs, self._emit = sides, pairs, emit
        self._told = KeySorter(Entry), KeySorter(Entry)
        self._stack = ExitStack()
        self.asked = 0

    def __enter__(self) -> "HeadRequests":
        for told in self._told:
            self._stack.enter_context(told)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    async def run(self) -> Iterator[Keyed[Pair]]:
        """Sends the requests. Gives all pairs with what was told."""
        with ungrouped():
            async with anyio.create_task_group() as group:
                for number, side in enumerate(self._sides):
                    if isinstance(side, ObjectSide) and side.is_listed:
                        group.start_soon(self._ask, side, number)
        return self._joined(self._joined(iter(self._pairs), 0), 1)

    async def _ask(self, side: ObjectSide, number: int) -> None:
        def take(refs: list[ObjectRef]) -> None:
            self._told[number].add([keyed(ref) for ref in refs])

        with suppress(BreakerError):  # a server that refuses all of them may allow its objects to be read
            await side.ask_heads(self._refs(number), take, self._listen)

    async def _refs(self, number: int) -> AsyncGenerator[list[ObjectRef], None]:
        """The objects of one side that have to be asked for."""
        rows = iter(self._pairs)
        while batch := list(islice(rows, _BATCH)):
            refs = [pair.sides[number].ref(path_of(key)) for key, pair in batch if _is_asked(pair, number)]
            if refs:
                self.asked += len(refs)
                yield refs
            await anyio.lowlevel.checkpoint()

    def _listen(self, event: Event) -> None:
        if not isinstance(event, ObjectFinished):
            self._emit(event)

    def _joined(self, pairs: Iterator[Keyed[Pair]], number: int) -> Iterator[Keyed[Pair]]:
        for key, pair, told in merged(pairs, self._told[number]):
            assert pair is not None  # noqa: S101 - nothing else was asked for
            yield key, pair if told is None else _with(pair, number, told)


def _is_asked(pair: Pair, number: int) -> bool:
    """True for an object that a request can tell more of: it is signed here, and the bytes of both can be read."""
    entry = pair.sides[number]
    can_be_compared = all(one.can_be_read or one.is_file for one in pair.sides)
    return entry.link is None and entry.stored.checksum is None and can_be_compared


def _with(pair: Pair, number: int, told: Entry) -> Pair:
    entries = list(pair.sides)
    entries[number] = msgspec.structs.replace(entries[number], stored=told.stored, is_told=True)
    return Pair(*entries)
