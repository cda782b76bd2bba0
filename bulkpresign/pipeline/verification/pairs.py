"""Compares the objects of two sides: by what is known of them, by hashing files, by asking for checksums, by reading.

Each step leaves to the next one what it can't decide. All objects are compared by what is known before the first one is
read, so the number of bytes to read is known by then.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing
from itertools import islice

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec

from bulkpresign.events import Listener
from bulkpresign.model import INTERRUPTED, ObjectRef, Outcome
from bulkpresign.pipeline.run.config import TransferConfig
from bulkpresign.pipeline.verification.differences import Results
from bulkpresign.pipeline.verification.digests import ReadPlan, read_digests
from bulkpresign.pipeline.verification.entries import Entry, Pair, key_of, path_of
from bulkpresign.pipeline.verification.files import FileComparer
from bulkpresign.pipeline.verification.heads import HeadRequests
from bulkpresign.pipeline.verification.metadata import MetadataComparer
from bulkpresign.pipeline.verification.sides import FolderSide, ObjectSide, Side
from bulkpresign.pipeline.verification.threads import map_in_threads, on_read
from bulkpresign.proof.comparison import ETAG_MISMATCH, UNKNOWN, compared
from bulkpresign.proof.files import MISSING, UNPROVEN
from bulkpresign.proof.hashing import FileProblem
from bulkpresign.proof.merge import merged
from bulkpresign.tables.sorting import Keyed, KeySorter
from bulkpresign.tasks import ungrouped
from bulkpresign.text import show_bytes
from bulkpresign.transfer.engine.jobs import Digest, Job

#: Takes a pair, by its path, that another step has to decide.
_Leave = Callable[[str, Pair], object]
#: The pairs that what is known can't decide, by their paths, and None for each pair that it decides.
_Undecided = Iterator[tuple[str, Pair | None]]

_SIDES = 2
#: Pairs, and bytes of their files, that one call of a thread hashes; and pairs that are signed at a time.
_BATCH, _BATCH_BYTES = 64, 16 << 20


class PairComparer:
    """Compares two sides. `results` takes the result of each object, `emit` the events.

    At most `max_read` bytes are read through links (None: any number). `threads` files are hashed at a time. With
    `metadata`, objects with the same bytes are compared by their metadata as well.
    """

    def __init__(
        self,
        first: Side,
        second: Side,
        results: Results,
        emit: Listener,
        *,
        config: TransferConfig,
        max_read: int | None,
        threads: int,
        ca_bundle: str | None,
        metadata: bool = False,
        executor: str | Executor | None = None,
    ) -> None:
        self._first, self._second, self._results, self._emit = first, second, results, emit
        self._config, self._max_read, self._threads, self._ca_bundle = config, max_read, threads, ca_bundle
        self._executor = executor
        self._is_one_server = (
            isinstance(first, ObjectSide) and isinstance(second, ObjectSide) and first.endpoint == second.endpoint
        )
        self._metadata = MetadataComparer((first, second), results, emit, self._are_one) if metadata else None
        self._plan = ReadPlan()
        self._open, self._unread = KeySorter(Pair), KeySorter(Pair)

    async def run(self, announce: Callable[[ReadPlan], object]) -> None:
        """Compares all objects. Calls `announce` before the first one is read, if any has to be."""
        async with AsyncExitStack() as stack:
            stack.enter_context(self._open)
            stack.enter_context(self._unread)
            if self._metadata is not None:
                stack.enter_context(self._metadata)
            await self._collect(stack)
            await self._compare_files(self._undecided_pairs(), self._ask_about if self._can_ask else self._leave)
            await self._compare_by_heads()
            if self._plan != ReadPlan():
                announce(self._plan)
            if self._plan.objects:
                reading = _PairReader(self._first, self._second, self._results)
                jobs = reading.jobs(self._unread)
                await read_digests(
                    jobs, reading.take, self._emit, self._config, self._ca_bundle, executor=self._executor
                )
            if self._metadata is not None:
                await self._metadata.run()

    async def _collect(self, stack: AsyncExitStack) -> None:
        """Reads the rows of both sides. Those of files come first: bad input is an error before anything is sent."""
        sides = (self._first, self._second)
        for side in sides:
            if not side.is_listed:
                await side.collect(stack, self._emit)
        with ungrouped():
            async with anyio.create_task_group() as group:
                for side in sides:
                    if side.is_listed:
                        group.start_soon(side.collect, stack, self._emit)

    async def _compare_files(self, pairs: _Undecided, leave: _Leave) -> None:
        """Hashes the files of pairs, in threads. `leave` takes pairs without a file, and those that this can't tell."""
        compare = FileComparer(self._first, self._second, on_read(self._emit))

        def take(batch: Sequence[tuple[str, Pair]], outcomes: Sequence[Outcome]) -> None:
            for (path, pair), outcome in zip(batch, outcomes, strict=True):
                is_open = outcome.code == ETAG_MISMATCH and self._is_open(pair)
                if is_open or (outcome.code == UNPROVEN and pair.unread):
                    leave(path, pair)
                else:
                    self._results.add(outcome)

        async with aclosing(_file_batches(pairs, leave)) as batches:
            await map_in_threads(batches, compare, take, self._threads)

    def _undecided_pairs(self) -> _Undecided:
        """Compares all objects by what is known."""
        for key, one, other in merged(self._first, self._second):
            path = path_of(key)
            yield path, self._undecided(path, one, other)

    def _ask_about(self, path: str, pair: Pair) -> None:
        """Leaves a pair to the requests for what its servers know of it."""
        self._open.add([(key_of(path), pair)])

    def _undecided(self, path: str, one: Entry | None, other: Entry | None) -> Pair | None:
        """The pair that can't be decided by what is known. Otherwise takes its result, and returns None."""
        entry = one or other
        assert entry is not None  # noqa: S101 - one of the two is there
        if entry.is_left_out:
            return None
        if one is None or other is None:
            self._take_single(path, one, other)
            return None
        pair = Pair(one, other)
        if self._are_one(pair) and self._is_listed(pair):
            self._results.fail(one.ref(path), UNPROVEN, "both sides are this same object")
            return None
        return self._left(path, pair)

    def _are_one(self, pair: Pair) -> bool:
        """True if both are the same object of one server: it always equals itself."""
        return self._is_one_server and pair.is_one_object

    def _is_listed(self, pair: Pair) -> bool:
        """True if both come from a listing, and no row of a manifest tells anything of its own."""
        are_rows = any(entry.location for entry in pair.sides)
        return self._first.is_listed and self._second.is_listed and not are_rows

    @property
    def _can_ask(self) -> bool:
        """True if a side is a listing, of whose objects servers can be asked for more."""
        return self._first.is_listed or self._second.is_listed

    def _is_open(self, pair: Pair) -> bool:
        """True if different etags decide nothing, because a server can tell more, or else the bytes.

        With a KMS key, an etag is not computed from the bytes, and a listing does not show that. That of an object in
        parts depends on their sizes, which no server tells for all of them, and some servers compute it otherwise.
        """
        return self._can_ask and not pair.etags_prove

    def _left(self, path: str, pair: Pair) -> Pair | None:
        """The pair, if what is known of the two can't tell it. Otherwise takes its result, and returns None."""
        ref = pair.one.ref(path)
        found = compared(ref, pair.other.ref(path))
        if found is UNKNOWN or (found.code == ETAG_MISMATCH and self._is_open(pair)):
            return pair
        if found.difference is None:
            self._results.add(Outcome(ref, "done", ref.size or 0, verified_by=found.verified_by))
        else:
            self._results.fail(ref, found.code, found.difference)
        return None

    async def _compare_by_heads(self) -> None:
        """Compares pairs once more, by what their servers tell when they are asked."""
        if len(self._open) == 0:
            return
        with HeadRequests((self._first, self._second), self._open, self._emit) as heads:
            told = await heads.run()
            await self._compare_files(self._undecided_when_told(told), self._leave)
        self._plan.asked = heads.asked

    def _undecided_when_told(self, told: Iterator[Keyed[Pair]]) -> _Undecided:
        """Compares pairs by what servers told."""
        for key, pair in told:
            path = path_of(key)
            yield path, self._left(path, pair)

    def _take_single(self, path: str, one: Entry | None, other: Entry | None) -> None:
        """Takes an object that only one side has. A folder has no files for folder markers."""
        opposite = self._second if one is not None else self._first
        entry = one or other
        assert entry is not None  # noqa: S101 - one of the two is there
        ref = entry.ref(path)
        if isinstance(opposite, FolderSide) and path.endswith("/") and ref.size == 0:
            self._results.add(Outcome(ref, "skipped", message="a folder marker has no file"))
        elif one is not None:
            self._results.fail(ref, MISSING, f"it is only in {self._first.name}")
        else:
            self._results.add_extra(ref, f"it is only in {self._second.name}")

    def _leave(self, path: str, pair: Pair) -> None:
        """Plans to read a pair, as far as that is possible and the limit allows it."""
        problem = self._read_problem(pair)
        if problem is not None:
            self._results.fail(pair.one.ref(path), UNPROVEN, problem)
            return
        self._plan.objects += 1
        self._plan.bytes += (pair.size or 0) * len(pair.unread)
        self._unread.add([(key_of(path), pair.without_part_sizes())])

    def _read_problem(self, pair: Pair) -> str | None:
        unread = pair.unread
        if self._are_one(pair):
            return "the row has no checksum or etag, and both sides are this same object"
        if not all(entry.can_be_read for entry in unread):
            return "the two have no checksum or etag of one kind"
        if self._max_read is None:
            return None
        if pair.size is None:
            return "its size is unknown, and the bytes to read are limited"
        if self._plan.bytes + pair.size * len(unread) > self._max_read:
            self._plan.over_limit += 1
            return f"only its bytes can tell, and {show_bytes(self._max_read)} are all that may be read"
        return None


async def _file_batches(pairs: _Undecided, leave: _Leave) -> AsyncGenerator[list[tuple[str, Pair]], None]:
    """The pairs with a file, in batches for threads. `leave` takes the others."""
    batch: list[tuple[str, Pair]] = []
    size = 0
    for number, (path, pair) in enumerate(pairs):
        if pair is not None and pair.has_file:
            batch.append((path, pair))
            size += pair.size or 0
        elif pair is not None:
            leave(path, pair)
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        if number % _BATCH == 0:
            await anyio.lowlevel.checkpoint()
    if batch:
        yield batch


class _Digests(msgspec.Struct):
    """The object of a pair, and the size and checksum of those of the two that are known so far."""

    ref: ObjectRef
    found: list[ObjectRef]


class _PairReader:
    """Makes the jobs that read pairs, and compares the digests that they find."""

    def __init__(self, first: Side, second: Side, results: Results) -> None:
        self._sides, self._results = (first, second), results
        self._hash = FileComparer(first, second, lambda _: None).hashed
        self._waiting: dict[str, _Digests] = {}

    async def jobs(self, pairs: KeySorter[Pair]) -> AsyncGenerator[list[Job], None]:
        """The jobs of all pairs. Their objects are signed just before they are read."""
        rows = iter(pairs)
        while batch := [(path_of(key), pair) for key, pair in islice(rows, _BATCH)]:
            for path, pair in batch:
                await self._begin(path, pair)
            yield [job for number, side in enumerate(self._sides) for job in await self._side_jobs(side, number, batch)]

    async def _begin(self, path: str, pair: Pair) -> None:
        """Notes a pair, with what is known of it: a checksum, or that of a file, which is hashed here."""
        self._waiting[path] = found = _Digests(pair.one.ref(path), [])
        if pair.known is not None:
            found.found.append(pair.known.ref(path))
        for entry in pair.sides:
            if entry.is_file:
                hashed = await anyio.to_thread.run_sync(self._hash, entry.ref(path))
                if isinstance(hashed, FileProblem):
                    self._fail(path, hashed.problem)
                else:
                    found.found.append(hashed)

    async def _side_jobs(self, side: Side, number: int, batch: Sequence[tuple[str, Pair]]) -> list[Job]:
        """The jobs that read the objects of one side."""
        entries = [(pair.sides[number], path, pair) for path, pair in batch]
        unread = [(entry, path, pair.algorithm) for entry, path, pair in entries if entry in pair.unread]
        if not unread:
            return []
        assert isinstance(side, ObjectSide)  # noqa: S101 - no other side has objects to read
        links = await side.links([(entry, path) for entry, path, _ in unread])
        return [Job(link, Digest(algorithm)) for link, (_, _, algorithm) in zip(links, unread, strict=True)]

    def take(self, outcome: Outcome) -> None:
        """Takes the outcome of a job. Compares a pair when both of its digests are here."""
        path = outcome.object.file_path
        waiting = self._waiting.get(path)
        if waiting is None or outcome.code == INTERRUPTED:  # the other object of the pair could not be read
            return
        if outcome.status != "done":
            self._fail(path, f"{outcome.object.uri} can't be read: {outcome.message}")
            return
        waiting.found.append(outcome.object)
        if len(waiting.found) == _SIDES:
            del self._waiting[path]
            self._compare(waiting.ref, *waiting.found)

    def _compare(self, ref: ObjectRef, one: ObjectRef, other: ObjectRef) -> None:
        (algorithm, _, found), (_, _, others) = (str(each.checksum).partition(":") for each in (one, other))
        if found == others and (one.size is None or one.size == other.size):  # a manifest need not tell the size
            self._results.add(Outcome(ref, "done", other.size or 0, verified_by=algorithm))
        else:
            self._results.fail(ref, "ChecksumMismatch", f"{algorithm} {found} on one side, {others} on the other")

    def _fail(self, path: str, problem: str) -> None:
        self._results.fail(self._waiting.pop(path).ref, UNPROVEN, problem)
