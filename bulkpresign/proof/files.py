"""Verifies local files against rows: their existence, size and checksum. Runs in threads."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from bulkpresign.checksums import ExpectedDigest, Verifier, descriptor_blocks, expected_digest
from bulkpresign.errors import MismatchError, NameRefusedError
from bulkpresign.model import NO_PROOF, Link, ObjectRef, Outcome


class Row(NamedTuple):
    """An object, its link if the row has one, and the object and part size that a journal recorded for it."""

    ref: ObjectRef
    link: Link | None = None
    recorded: ObjectRef | None = None
    part_size: int | None = None


#: Outcome codes: the file does not exist; or only its size matches, which is no proof of its bytes.
MISSING, UNPROVEN = "FileMissing", "Unproven"

#: A manifest does not have an object's encryption; only the headers of a response do.
_HINTS = {"EtagMismatch": " (or the object is encrypted with a key of KMS or the customer, and its etag is not an md5)"}
_BATCH_ROWS = 256
_BATCH_BYTES = 16 << 20
_UNKNOWN_BYTES = 64 << 10


class FileVerifier:
    """Verifies files against rows. Several threads may call it at once.

    `open_file` returns a descriptor of the file at a path, or raises NameRefusedError or OSError. `on_read` is called
    with the number of bytes read, about every 16 MiB and at the end of a batch; it may raise to stop. With
    `accept_size`, a file also counts as verified if only its size, or only its existence, is known to be right.
    """

    def __init__(
        self, open_file: Callable[[str], int], on_read: Callable[[int], object], *, accept_size: bool = False
    ) -> None:
        self._open_file, self._on_read, self._accept_size = open_file, on_read, accept_size

    def __call__(self, rows: Sequence[Row]) -> list[Outcome]:
        """The outcome of each row: `done` with its verification, or `failed` with a code: FileMissing, Unproven..."""
        meter = _ReadMeter(self._on_read)
        outcomes = [self._outcome(row, meter) for row in rows]
        meter.report()
        return outcomes

    def _outcome(self, row: Row, meter: "_ReadMeter") -> Outcome:  # noqa: PLR0911 - one for each outcome
        ref, link = row.ref, row.link
        if ref.is_folder_marker:
            return Outcome(ref, "skipped", message="a folder marker has no file", link=link)
        try:
            expected = expected_digest(row.recorded or ref, headers=_lowered(link), part_size=row.part_size)
            size, verified_by = self._verify(ref.file_path, expected, meter)
        except (FileNotFoundError, NotADirectoryError) as error:
            reason = "; ".join(["there is no such file", *getattr(error, "__notes__", ())])
            return _failed(ref, link, MISSING, reason)
        except NameRefusedError as error:
            return _failed(ref, link, "NameRefused", str(error))
        except MismatchError as error:
            return _failed(ref, link, error.code, f"{error}{_HINTS.get(error.code, '')}")
        except OSError as error:
            return _failed(ref, link, "Unreadable", f"the file can't be read: {error.strerror}")
        is_proven = verified_by not in NO_PROOF or (verified_by == "size" and size == 0)
        if not (is_proven or self._accept_size):
            return _failed(ref, link, UNPROVEN, _unproven_reason(expected, ref))
        return Outcome(ref, "done", size, verified_by=verified_by, link=link)

    def _verify(self, path: str, expected: ExpectedDigest, meter: "_ReadMeter") -> tuple[int, str | None]:
        """The size of a file and its verification. A file is not read if only the size is known."""
        descriptor = self._open_file(path)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
                raise MismatchError(f"it is {what}", code="NotAFile")
            expected.check_size(found.st_size)
            if expected.algorithm is None:
                return found.st_size, expected.name
            return found.st_size, Verifier(expected).verified(lambda: meter.count(descriptor_blocks(descriptor)))
        finally:
            os.close(descriptor)


def _unproven_reason(expected: ExpectedDigest, ref: ObjectRef) -> str:
    """The reason why the bytes of an existing file can't be verified."""
    if expected.algorithm is not None:
        return f"the part size of its {expected.source} is unknown, so only its size could be checked"
    if expected.size is not None and ref.etag is not None:
        return "its etag can't prove the bytes, and it has no checksum, so only its size could be checked"
    if expected.size is not None:
        return "its row has a size, but no checksum or etag to verify the bytes"
    return "its row has no size and no checksum"


def batches_of(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The same rows in batches for threads: 256 rows, or 16 MiB by their sizes."""
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


class _ReadMeter:
    """Counts the bytes that are read, and reports them about every 16 MiB."""

    def __init__(self, on_read: Callable[[int], object]) -> None:
        self._on_read = on_read
        self._count = 0

    def count(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._count += len(block)
            if self._count >= _BATCH_BYTES:
                self.report()
            yield block

    def report(self) -> None:
        count, self._count = self._count, 0
        self._on_read(count)


def _lowered(link: Link | None) -> dict[str, str] | None:
    """The signed headers of a link, with names in lower case. They can have a checksum, or the encryption."""
    return {name.lower(): value for name, value in link.headers.items()} if link and link.headers else None


def _failed(ref: ObjectRef, link: Link | None, code: str, message: str) -> Outcome:
    return Outcome(ref, "failed", code=code, message=message, link=link)
