"""The destination of one object's bytes: a temporary file that gets its name when it is whole and verified."""

from collections.abc import Mapping

import anyio.to_thread
import msgspec

from bulkpresign.checksums import CHANGED, ExpectedDigest, Verifier
from bulkpresign.errors import MismatchError, RefusedError, StorageError, TransferError
from bulkpresign.events import BytesMoved, BytesResumed, PartFinished, ResumePointChanged
from bulkpresign.http.connection import Chunk
from bulkpresign.http.dates import unix_time
from bulkpresign.model import NO_RESUME_POINT, Checkpoint, Evidence, Link, ResumePoint
from bulkpresign.transfer.context import TransferContext
from bulkpresign.transfer.disk.folder import Target, storage_error
from bulkpresign.transfer.disk.temporary import TemporaryFile, remove_temporary
from bulkpresign.transfer.downloads.existing import evidence_of
from bulkpresign.transfer.downloads.part_checkpoints import PartCheckpoints
from bulkpresign.transfer.downloads.ranges import RangePlan, is_strong
from bulkpresign.transfer.downloads.rehash import AskPartSize, PartChecks, hash_start, in_thread, verify_composite
from bulkpresign.transfer.downloads.responses import TOO_LARGE
from bulkpresign.transfer.downloads.steps import RESUMABLE_BYTES, ResponseHead, Resume

#: From here on an object is hashed in a thread: the loop then moves twice as many bytes a second, for a sixth more CPU
#: time. For a small object the hops to the thread cost more than they save.
_SLOW_BYTES = 1 << 20
#: A larger body is measured by its rate, a smaller one by the latency of its response.
_SMALL_BYTES = 64 << 10
_USELESS = frozenset({TOO_LARGE, CHANGED})


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An object that has its name: its size in bytes, the name of what verified it, and its evidence."""

    size: int
    verified_by: str | None
    evidence: Evidence


class SinkOptions(msgspec.Struct, frozen=True):
    """`max_object_size` (bytes) bounds objects of unknown size. With `fsync` a stored object is on the disk.

    `ask_part_size` asks the server for the size of the parts that an object was uploaded in, None where that can't be.
    """

    max_object_size: int
    fsync: bool = False
    ask_part_size: AskPartSize | None = None


class Sink:
    """Stores one object, over all its attempts and links.

    An attempt opens it (`open_stream`, `open_parts`), writes, and ends with `commit` or `abandon`. The sink records
    resume points and finished parts. It emits the progress: bytes that don't stay in the file are taken back.
    """

    #: The resume point and the finished parts (number to proof) that are recorded of the object.
    point: ResumePoint | None = None
    parts: dict[int, str]
    #: True where a file exists under the name that must not be replaced.
    must_not_replace = False
    #: True where a failed attempt leaves its bytes to the next one.
    is_resumable = False
    #: The last bytes written by `write`. The buffer is the connection's: it is valid until the next read.
    last: Chunk = b""
    _file: TemporaryFile | None = None
    _checkpoints: PartCheckpoints | None = None
    _verifier: Verifier
    _bound = 0
    #: True for a stream that takes more than a read or two: the limiter measures its rate.
    is_large = False
    _is_announced = _is_slow = True
    # Bytes emitted as progress: moved in this run, and left by an earlier one (None: not emitted yet).
    _moved = 0
    _resumed: int | None = None
    # Bytes of finished parts.
    _finished_bytes = 0

    def __init__(
        self,
        context: TransferContext,
        options: SinkOptions,
        target: Target,
        link: Link,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._context, self._options = context, options
        self._emit, self.limiter, self._limits_rate = context.emit, context.limiter, context.limiter.limits_rate
        self.target, self.link, self.max_object_size = target, link, options.max_object_size
        if checkpoint is None:
            self.parts = {}
        else:
            self.point, self.parts = checkpoint.point, dict(checkpoint.parts)
        self._checks = PartChecks()

    # The temporary file of an earlier attempt

    def on_disk(self) -> int | None:
        """The size in bytes of the temporary file, None where there is none."""
        return self.target.temporary_size()

    async def intact_parts(self, on_disk: int | None) -> Mapping[int, str]:
        """The recorded parts whose bytes are still in the temporary file, which has `on_disk` bytes.

        Each is read once: reading a large object can take longer than a link is valid.
        """
        point = self.point
        if point is None or not point.part_size or on_disk != point.size or not self.parts:
            return {}
        return await in_thread(point.size, self._checks.intact_parts, self.target, point, self.parts)

    # One stream

    def open_stream(self, expected: ExpectedDigest, response: ResponseHead, resume: Resume | None) -> None:
        """Opens the file for the bytes of a response, after those that it has already; `hash_start` comes next.

        Raises StorageError, also where another file has the name.
        """
        self._check_name()
        at = 0 if resume is None else resume.at
        self._file = TemporaryFile(self.target, at).__enter__()
        self._start_at(at)
        self._verifier = Verifier(expected)
        self.is_resumable = resume is not None or self._record_point(response)
        self._is_announced, self._is_slow = response.length is not None, expected.is_slow
        self.is_large = response.length is None or response.length > _SMALL_BYTES
        self._bound = self.max_object_size if expected.size is None else expected.size

    async def hash_start(self) -> None:
        """Hashes the bytes that the file has from an earlier attempt."""
        file = self._file
        assert file is not None  # noqa: S101 - an attempt opened it
        await in_thread(file.size, hash_start, self._verifier, file)

    def write(self, chunk: Chunk) -> bool:
        """Writes the next bytes. True: `catch_up` comes before the next ones."""
        file, count = self._file, len(chunk)
        assert file is not None  # noqa: S101 - an attempt opened it
        if file.size + count > self._bound:
            raise self._too_many()
        file.write(chunk)
        if not self._is_announced:
            file.check_free_space()
        self._moved += count
        self._emit(BytesMoved(count))
        if self.is_large:
            self.limiter.moved(count)
        verifier = self._verifier
        if self._is_slow and verifier.bytes >= _SLOW_BYTES:
            self.last = chunk
            return True
        verifier.update(chunk)
        if self._limits_rate:
            self.last = chunk
        return self._limits_rate

    async def catch_up(self) -> None:
        """Hashes the last bytes where they are not yet, and waits until the rate limit allows more."""
        file, verifier = self._file, self._verifier
        assert file is not None  # noqa: S101 - an attempt opened it
        if verifier.bytes < file.size:
            await anyio.to_thread.run_sync(verifier.update, self.last)
        await self.limiter.throttle(len(self.last))

    def _record_point(self, response: ResponseHead) -> bool:
        """Records which object the bytes will be of. True where resuming pays; a weak etag can't guard it."""
        if not self._context.keeps_checkpoints:
            return False
        size, etag, point = response.length, response.etag, None
        if size is not None and size >= RESUMABLE_BYTES and etag and is_strong(etag):
            point = ResumePoint(etag, size)
        if point is not None or self.point is not None:  # an earlier point is not true of these bytes
            self._set_resume_point(point or NO_RESUME_POINT)
        return point is not None

    def _too_many(self) -> MismatchError | RefusedError:
        """The error of a body that goes on past the object's size, or past the allowed one."""
        bound = self._bound
        if self._verifier.expected.size is None:
            return RefusedError(f"the object goes on after {bound:,} bytes; no more are allowed", code=TOO_LARGE)
        return MismatchError(f"there are more than the {bound:,} bytes that are expected", code="SizeMismatch")

    # Parts in any order

    async def open_parts(self, plan: RangePlan) -> None:
        """Opens the file for the parts of an open plan. Raises StorageError, also where another file has the name."""
        self._check_name()
        keeps_checkpoints, self._finished_bytes = self._context.keeps_checkpoints, plan.finished_bytes
        self.is_resumable = keeps_checkpoints and plan.etag is not None
        file = self._file = TemporaryFile(self.target, is_kept=plan.has_finished).__enter__()
        self._start_at(self._finished_bytes)
        self._checkpoints = PartCheckpoints(file, self._add_finished_part)
        self._checks.opened(file)
        # the others are written anew
        self.parts = {number: proof for number, proof in self.parts.items() if number in plan.finished}
        if plan.has_finished:
            return
        if keeps_checkpoints:
            point = NO_RESUME_POINT if plan.etag is None else ResumePoint(plan.etag, plan.size, plan.part_size)
            self._set_resume_point(point)
        await anyio.to_thread.run_sync(file.allocate, plan.size)

    def write_at(self, offset: int, chunk: Chunk) -> None:
        """Writes bytes of a part."""
        assert self._file is not None  # noqa: S101 - an attempt opened it
        self._file.write_at(offset, chunk)
        self._moved += len(chunk)
        self._emit(BytesMoved(len(chunk)))
        self.limiter.moved(len(chunk))

    def read_at(self, offset: int, count: int) -> bytes:
        """`count` bytes of the parts, or less, but at least one. Raises StorageError."""
        file = self._file
        assert file is not None  # noqa: S101 - an attempt opened it
        try:
            data = file.read_at(offset, count)
        except OSError as error:
            raise storage_error(file.name, error) from error
        if not data:
            raise StorageError(f"{file.name} has shrunk", code="FileChanged")
        return data

    def finish_part(self, number: int, size: int, proof: str) -> None:
        """Takes note of a part whose bytes are written."""
        assert self._checkpoints is not None  # noqa: S101 - an attempt opened it
        self._checkpoints.add(number, proof)
        self._finished_bytes += size

    @property
    def due_checkpoints(self) -> PartCheckpoints | None:
        """The checkpoints that are to be synced now, None where it is not time, or nothing is to be recorded."""
        checkpoints = self._checkpoints
        return checkpoints if self.is_resumable and checkpoints is not None and checkpoints.is_due() else None

    # The end of an attempt

    async def commit(self, response: ResponseHead, etag: str | None, verifier: Verifier | None = None) -> Stored:
        """Verifies the file, and gives it its name and the object's time.

        `etag` is the object's. A ranged download has a `verifier` of its own. Raises MismatchError, StorageError.
        """
        file, verifier = self._file, verifier or self._verifier
        assert file is not None  # noqa: S101 - an attempt opened it
        expected = verifier.expected
        if expected.parts:
            verified_by = await verify_composite(file, verifier, self.link, self._options.ask_part_size)
        else:
            verified_by = verifier.verify()
        modified_at = unix_time(response.headers.get("last-modified"))
        if self._options.fsync:
            found = await anyio.to_thread.run_sync(lambda: file.commit(modified_at, sync=True))
        else:
            found = file.commit(modified_at)
        self._file = self._checkpoints = None
        evidence = evidence_of(found, expected, etag or self.link.object.etag, verifier.part_size)
        return Stored(file.size, verified_by, evidence)

    async def abandon(self, error: BaseException) -> None:
        """Ends an attempt that failed: keeps the bytes that the next one can continue, and discards the others.

        A run that was left keeps none, except those of an earlier run.
        """
        file, checkpoints = self._file, self._checkpoints
        self._file = self._checkpoints = None
        if file is None:
            return
        is_useless = _is_useless(error) or (self._context.is_left() and not self._resumed)
        remaining = self._finished_bytes if checkpoints is not None else file.size
        if is_useless or not self.is_resumable:
            remaining = 0
        self._take_back_to(remaining)
        if checkpoints is not None and remaining:
            await checkpoints.close()
            self._checks.closing(file)
        if is_useless or (checkpoints is not None and not remaining):
            file.discard()
        file.__exit__()

    def restart(self) -> None:
        """Discards all that is stored of the object."""
        self._take_back_to(0)
        remove_temporary(self.target)

    # Progress and records

    def _start_at(self, at: int) -> None:
        """Tells once how many bytes an earlier run left. Takes back those that are not in the file any more."""
        if self._resumed is None:
            self._resumed = at
            if at:
                self._emit(BytesResumed(at))
        else:
            self._take_back_to(at)

    def _take_back_to(self, remaining: int) -> None:
        """Takes back the progress of all bytes but the remaining ones: first of those that this run moved."""
        resumed = self._resumed or 0
        moved = min(self._moved, max(self._moved + resumed - remaining, 0))
        if moved:
            self._moved -= moved
            self._emit(BytesMoved(-moved))
        if resumed > remaining:
            self._resumed = remaining
            self._emit(BytesResumed(remaining - resumed))

    def _check_name(self) -> None:
        if self.must_not_replace:
            raise StorageError("another file of that name is there", code="FileExists")

    def _set_resume_point(self, point: ResumePoint) -> None:
        """Records the object that the bytes belong to. The parts that were recorded before are forgotten."""
        self.point, self.parts = point, {}
        self._emit(ResumePointChanged(self.link, point))

    def _add_finished_part(self, number: int, proof: str) -> None:
        self.parts[number] = proof
        self._checks.add_written(number)
        self._emit(PartFinished(self.link, number, proof))


def _is_useless(error: BaseException) -> bool:
    """True where the bytes that are there are wrong, too many, or those of another object."""
    return isinstance(error, MismatchError) or (isinstance(error, TransferError) and error.code in _USELESS)
