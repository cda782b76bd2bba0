"""Whether files are the objects that rows name: there, of the right size, of the right bytes. Runs in threads."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence

from bulkpresign.checksums import Expectation, descriptor_blocks, expectation_of, verify_blocks
from bulkpresign.errors import MismatchError, NameRefusedError
from bulkpresign.model import Link, ObjectRef, Outcome

#: An object, and the link that its row is where it is one.
Row = tuple[ObjectRef, Link | None]

#: The code of an outcome whose file is not there.
MISSING = "FileMissing"

#: A manifest does not tell how an object was encrypted; an answer's headers do.
_HINTS = {"EtagMismatch": " (or the object is under a key of KMS or the customer, where an etag is no md5)"}
_BATCH_ROWS = 256
_BATCH_BYTES = 16 << 20
_UNKNOWN_BYTES = 64 << 10
# No wait for the other end of a pipe, which is no file anyway.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Prover:
    """Proves rows against files. Safe to be called from several threads at once.

    `locate` gives the full name of the file at a path, or raises NameRefusedError; `moved` hears of bytes that were
    read, about every 16 MiB and at the end of a batch, and may raise to end the work.
    """

    def __init__(self, locate: Callable[[str], str], moved: Callable[[int], object]) -> None:
        self._locate, self._moved = locate, moved

    def __call__(self, rows: Sequence[Row]) -> list[Outcome]:
        """The outcome of each row: `done` by what verified it, or `failed` with a code: FileMissing, SizeMismatch..."""
        meter = _Meter(self._moved)
        outcomes = [self._prove(ref, link, meter) for ref, link in rows]
        meter.tell()
        return outcomes

    def _prove(self, ref: ObjectRef, link: Link | None, meter: "_Meter") -> Outcome:
        if ref.size == 0 and ref.key.endswith("/"):
            return Outcome(ref, "skipped", message="a folder marker has no file", link=link)
        try:
            expected = expectation_of(ref, headers=_lowered(link))
            size, verified_by = _verify(self._locate(ref.place), expected, meter)
        except (FileNotFoundError, NotADirectoryError):
            return _failed(ref, link, MISSING, "there is no such file")
        except NameRefusedError as error:
            return _failed(ref, link, "NameRefused", str(error))
        except MismatchError as error:
            return _failed(ref, link, error.code, f"{error}{_HINTS.get(error.code, '')}")
        except OSError as error:
            return _failed(ref, link, "Unreadable", f"the file can't be read: {error.strerror}")
        message = None if verified_by == expected.name else f"no part size fits its {expected.source} of parts"
        return Outcome(ref, "done", size, verified_by=verified_by, message=message, link=link)


def batches_of(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The same rows in batches that are worth a thread's while: 256 rows, or 16 MiB by the sizes they tell."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += _UNKNOWN_BYTES if row[0].size is None else row[0].size
        if len(batch) >= _BATCH_ROWS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Meter:
    """Counts bytes, and tells of them when they are many."""

    def __init__(self, moved: Callable[[int], object]) -> None:
        self._moved = moved
        self._count = 0

    def through(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._count += len(block)
            if self._count >= _BATCH_BYTES:
                self.tell()
            yield block

    def tell(self) -> None:
        count, self._count = self._count, 0
        self._moved(count)


def _verify(file: str, expected: Expectation, meter: _Meter) -> tuple[int, str | None]:
    """The size of a file and what verified it; one that can be told by its size is not read."""
    descriptor = os.open(file, _FLAGS)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
            raise MismatchError(f"it is {what}", code="NotAFile")
        expected.check_size(found.st_size)
        if expected.algorithm is None:
            return found.st_size, expected.name
        return found.st_size, verify_blocks(expected, lambda: meter.through(descriptor_blocks(descriptor)))
    finally:
        os.close(descriptor)


def _lowered(link: Link | None) -> dict[str, str] | None:
    """The headers that a link signs, by names in lower case: they can tell of a checksum, or that an etag is no md5."""
    return {name.lower(): value for name, value in link.headers.items()} if link and link.headers else None


def _failed(ref: ObjectRef, link: Link | None, code: str, message: str) -> Outcome:
    return Outcome(ref, "failed", code=code, message=message, link=link)
