"""Whether files are the objects that rows name: there, of the right size, of the right bytes. Runs in threads."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from bulkpresign.checksums import ExpectedDigest, Verifier, descriptor_blocks, expected_digest
from bulkpresign.errors import MismatchError, NameRefusedError
from bulkpresign.model import Link, ObjectRef, Outcome


class Row(NamedTuple):
    """An object, the link that its row is where it is one, and what a journal knows of it beside (None: nothing)."""

    ref: ObjectRef
    link: Link | None = None
    known: ObjectRef | None = None
    part_size: int | None = None


#: The codes of outcomes whose file is not there, or may be anything of the right size.
MISSING, UNPROVEN = "FileMissing", "Unproven"

#: A manifest does not tell how an object was encrypted; an answer's headers do.
_HINTS = {"EtagMismatch": " (or the object is under a key of KMS or the customer, where an etag is no md5)"}
_BATCH_ROWS = 256
_BATCH_BYTES = 16 << 20
_UNKNOWN_BYTES = 64 << 10


class Prover:
    """Proves rows against files. Safe to be called from several threads at once.

    `open_file` gives a descriptor of the file at a path, or raises NameRefusedError or OSError; `moved` hears of bytes
    that were read, about every 16 MiB and at the end of a batch, and may raise to end the work. With `accept_size` a
    file counts as verified where nothing but its size, or its being there, speaks for it.
    """

    def __init__(
        self, open_file: Callable[[str], int], moved: Callable[[int], object], *, accept_size: bool = False
    ) -> None:
        self._open_file, self._moved, self._accept_size = open_file, moved, accept_size

    def __call__(self, rows: Sequence[Row]) -> list[Outcome]:
        """The outcome of each row: `done` by what verified it, or `failed` with a code: FileMissing, Unproven..."""
        meter = _Meter(self._moved)
        outcomes = [self._prove(row, meter) for row in rows]
        meter.tell()
        return outcomes

    def _prove(self, row: Row, meter: "_Meter") -> Outcome:  # noqa: PLR0911 - one for each outcome
        ref, link = row.ref, row.link
        if ref.size == 0 and ref.key.endswith("/"):
            return Outcome(ref, "skipped", message="a folder marker has no file", link=link)
        try:
            expected = expected_digest(row.known or ref, headers=_lowered(link), part_size=row.part_size)
            size, verified_by = self._verify(ref.file_path, expected, meter)
        except (FileNotFoundError, NotADirectoryError):
            return _failed(ref, link, MISSING, "there is no such file")
        except NameRefusedError as error:
            return _failed(ref, link, "NameRefused", str(error))
        except MismatchError as error:
            return _failed(ref, link, error.code, f"{error}{_HINTS.get(error.code, '')}")
        except OSError as error:
            return _failed(ref, link, "Unreadable", f"the file can't be read: {error.strerror}")
        if size and verified_by in {None, "size"} and not self._accept_size:
            return _failed(ref, link, UNPROVEN, _why_unproven(expected))
        return Outcome(ref, "done", size, verified_by=verified_by, link=link)

    def _verify(self, path: str, expected: ExpectedDigest, meter: "_Meter") -> tuple[int, str | None]:
        """The size of a file and what verified it; one for which its size is all that is known is not read."""
        descriptor = self._open_file(path)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                what = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
                raise MismatchError(f"it is {what}", code="NotAFile")
            expected.check_size(found.st_size)
            if expected.algorithm is None:
                return found.st_size, expected.name
            return found.st_size, Verifier(expected).verified(lambda: meter.through(descriptor_blocks(descriptor)))
        finally:
            os.close(descriptor)


def _why_unproven(expected: ExpectedDigest) -> str:
    """Why nothing proves the bytes of a file that is there."""
    if expected.algorithm is not None:
        return f"the parts of its {expected.source} have no likely size, so its size alone speaks for it"
    if expected.size is not None:
        return "its row tells a size, but no checksum or etag that could prove the bytes"
    return "its row tells neither a size nor a checksum"


def batches_of(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The same rows in batches that are worth a thread's while: 256 rows, or 16 MiB by the sizes they tell."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += _UNKNOWN_BYTES if row.ref.size is None else row.ref.size
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


def _lowered(link: Link | None) -> dict[str, str] | None:
    """The headers that a link signs, by names in lower case: they can tell of a checksum, or that an etag is no md5."""
    return {name.lower(): value for name, value in link.headers.items()} if link and link.headers else None


def _failed(ref: ObjectRef, link: Link | None, code: str, message: str) -> Outcome:
    return Outcome(ref, "failed", code=code, message=message, link=link)
