"""Bytes of an object that are on disk already: hashed and compared, in a thread where they are many."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import anyio.to_thread

from bulkpresign.checksums import ExpectedDigest, Verifier, descriptor_blocks, hasher
from bulkpresign.errors import MismatchError, StorageError
from bulkpresign.model import ResumePoint
from bulkpresign.transfer.disk.folder import Target
from bulkpresign.transfer.disk.temporary import TemporaryFile
from bulkpresign.transfer.downloads.ranges import is_intact

_INLINE_BYTES = 256 * 1024

T = TypeVar("T")


def with_file(target: Target, work: Callable[[int], T]) -> T:
    """The result of work on the open file that stands under a name. Raises OSError."""
    descriptor = target.open()
    try:
        return work(descriptor)
    finally:
        os.close(descriptor)


def md5_of(descriptor: int) -> str:
    """The md5 of an open file, in hex."""
    digest = hasher("md5")
    for block in descriptor_blocks(descriptor):
        digest.update(block)
    return digest.digest().hex()


def compared(expected: ExpectedDigest, descriptor: int) -> tuple[str | None, int]:
    """What proves that an open file is the object (None: nothing does), and the size of the parts by which."""
    verifier = Verifier(expected)
    with suppress(MismatchError):
        if verifier.verified(lambda: descriptor_blocks(descriptor)) == expected.name:
            return expected.name, verifier.part_size
    return None, 0


def fits(expected: ExpectedDigest, file: TemporaryFile) -> bool:
    """True where the bytes of a file have the expected value."""
    with suppress(MismatchError):
        return Verifier(expected).verified(file.blocks) == expected.name
    return False


def intact_parts(target: Target, kept: ResumePoint, finished: Mapping[int, str]) -> dict[int, str]:
    """Those of the finished parts whose bytes in the temporary file are what they were."""
    try:
        with TemporaryFile(target, is_kept=True) as file:
            return {
                number: proof
                for number, proof in finished.items()
                if is_intact(file.read_at, *_part_of(kept, number), proof)
            }
    except (OSError, StorageError):
        return {}


def _part_of(kept: ResumePoint, number: int) -> tuple[int, int]:
    """Offset and size of a part."""
    offset = (number - 1) * kept.part_size
    return offset, min(kept.part_size, kept.size - offset)


def hash_existing(verifier: Verifier, file: TemporaryFile, count: int) -> None:
    """Gives a verifier the bytes that are there already."""
    for block in file.blocks():
        verifier.update(block[: count - verifier.bytes])


async def in_thread(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """Work on `size` bytes of a file: right here where they are few, for the hop to a thread costs more than that."""
    if size <= _INLINE_BYTES:
        return work(*arguments)
    return await anyio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True)
