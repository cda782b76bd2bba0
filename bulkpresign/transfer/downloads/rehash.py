"""Hashes bytes that are on disk: in a thread where they are many."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import anyio.to_thread
import msgspec

from bulkpresign.checksums import ExpectedDigest, Verifier
from bulkpresign.errors import MismatchError, RefusedError, StorageError
from bulkpresign.model import Link, ResumePoint
from bulkpresign.transfer.disk.folder import Target
from bulkpresign.transfer.disk.temporary import TemporaryFile
from bulkpresign.transfer.downloads.ranges import is_intact

#: Up to here the hop to a thread costs more than the hashing.
_INLINE_BYTES = 256 * 1024

T = TypeVar("T")

#: Asks the server for the size in bytes of the parts that an object was uploaded in.
AskPartSize = Callable[[Link], Awaitable[int | None]]


async def in_thread(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """The result of work on `size` bytes of a file, in a thread unless they are few."""
    if size <= _INLINE_BYTES:
        return work(*arguments)
    return await anyio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True)


async def verify_composite(file: TemporaryFile, verifier: Verifier, link: Link, ask: AskPartSize | None) -> str | None:
    """Verifies the bytes of a file by a digest of parts. Where their size is unknown, the likely sizes are tried.

    Where none matches, the server is asked for the size if possible; else the object stays unproven, and its size is
    all that verifies it. Raises MismatchError, and RefusedError as `Verifier.verify`.
    """
    expected = verifier.expected
    verified_by = await in_thread(verifier.bytes, verifier.found, file.blocks)
    if verified_by == expected.name or ask is None or expected.parts == 1:
        return expected.settled(verified_by)
    part_size = await ask(link)
    if part_size is None or -(-verifier.bytes // part_size) != expected.parts:
        return expected.settled(verified_by)
    if await in_thread(verifier.bytes, _matches, msgspec.structs.replace(expected, part_size=part_size), file):
        verifier.part_size, verified_by = part_size, expected.name
    return expected.settled(verified_by)


def _matches(expected: ExpectedDigest, file: TemporaryFile) -> bool:
    """True where the bytes of a file have the expected digest."""
    with suppress(MismatchError, RefusedError):
        return Verifier(expected).verified(file.blocks) == expected.name
    return False


def hash_start(verifier: Verifier, file: TemporaryFile) -> None:
    """Gives a verifier the bytes of a file."""
    for block in file.blocks():
        verifier.update(block)


class PartChecks:
    """Which parts of a temporary file have the bytes of their checksums, as far as that is known.

    A part is read once, over all links of its object, and one that this process wrote is not read. All are read again
    where the file changed while it was closed: then another run may have written to it.
    """

    def __init__(self) -> None:
        self._are_intact: dict[int, bool] = {}
        self._state: tuple[int, ...] | None = None

    def opened(self, file: TemporaryFile) -> None:
        """Forgets all parts where the file changed since it was closed."""
        state = file.state
        if state is None or state != self._state:
            self._are_intact.clear()
        self._state = state

    def add_written(self, number: int) -> None:
        """Takes note of a part that was written to the open file."""
        self._are_intact[number] = True

    def closing(self, file: TemporaryFile) -> None:
        """Takes note of the file after the last write."""
        self._state = file.state

    def intact_parts(self, target: Target, point: ResumePoint, finished: Mapping[int, str]) -> dict[int, str]:
        """The finished parts whose bytes in the temporary file have their checksum, by number with their proofs.

        Call it in a thread.
        """
        try:
            with TemporaryFile(target, is_kept=True) as file:
                self.opened(file)
                for number, proof in finished.items():
                    if number not in self._are_intact:
                        self._are_intact[number] = is_intact(file.read_at, *_range_of(point, number), proof)
        except (OSError, StorageError):
            return {}
        return {number: proof for number, proof in finished.items() if self._are_intact[number]}


def _range_of(point: ResumePoint, number: int) -> tuple[int, int]:
    """Offset and size of a part."""
    offset = (number - 1) * point.part_size
    return offset, min(point.part_size, point.size - offset)
