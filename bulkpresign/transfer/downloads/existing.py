"""Files that exist under an object's name: skipped, compared with the server, or replaced.

This is decided before the first request.
"""

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Literal, TypeVar, get_args

import msgspec

from bulkpresign.checksums import ExpectedDigest, Verifier, descriptor_blocks, expected_digest, hasher
from bulkpresign.errors import MismatchError, ParameterError
from bulkpresign.model import Evidence, Link, ObjectRef, Outcome
from bulkpresign.transfer.disk.folder import Target
from bulkpresign.transfer.downloads.rehash import in_thread

T = TypeVar("T")

IfExists = Literal["replace", "keep", "fail"]


def check_if_exists(value: str) -> None:
    """Raises ParameterError for anything but replace, keep and fail."""
    if value not in get_args(IfExists):
        raise ParameterError(f"if_exists {value!r} is not one of {', '.join(get_args(IfExists))}")


class ExistingFile(msgspec.Struct, frozen=True):
    """A file under an object's name, or a link or device.

    `is_skipped`: the object needs no request; `message` tells why where the file is not the object. `etag` is that of
    the file where the server can tell whether it is the object (None: nobody needs to ask); `verified_by` and
    `evidence` are what an outcome has of a file that is the object.
    """

    is_skipped: bool = False
    message: str | None = None
    etag: str | None = None
    verified_by: str | None = None
    evidence: Evidence | None = None

    @property
    def condition(self) -> Mapping[str, str] | None:
        """Headers that ask for the object unless it is the file."""
        return None if self.etag is None else {"If-None-Match": f'"{self.etag}"'}

    def skipped(self, link: Link, attempts: int = 0) -> Outcome:
        """The outcome of an object whose file stays."""
        return Outcome(
            link.object,
            "skipped",
            attempts=attempts,
            verified_by=self.verified_by,
            message=self.message,
            link=link,
            evidence=self.evidence,
        )


#: A file that is not the object.
DIFFERS = ExistingFile()


async def check_existing(
    ref: ObjectRef, target: Target, found: os.stat_result, evidence: Evidence | None, *, keeps: bool, rechecks: bool
) -> ExistingFile:
    """Compares what exists under an object's name with its row.

    `found` is its state, `evidence` that of an earlier run. With `keeps` whatever exists stays; with `rechecks` the
    server decides.
    """
    is_file = stat.S_ISREG(found.st_mode)
    if keeps:
        return ExistingFile(True, f"there is a {'file' if is_file else 'link or device'} of that name")
    if is_file:
        with suppress(OSError):  # a file that can't be read is replaced, or replacing it fails with the reason
            return await _compare(ref, target, found, evidence, rechecks=rechecks)
    return DIFFERS


async def _compare(
    ref: ObjectRef, target: Target, found: os.stat_result, evidence: Evidence | None, *, rechecks: bool
) -> ExistingFile:
    """Raises OSError."""
    expected = expected_digest(ref)
    if expected.size not in {None, found.st_size}:
        return DIFFERS
    if rechecks and (etag := _recorded_etag(evidence, found)) is not None:
        return ExistingFile(False, None, etag, "etag", evidence_of(found, expected, etag))
    if expected.algorithm is None or rechecks:
        md5 = await in_thread(found.st_size, _with_file, target, _md5)
        return ExistingFile(False, None, md5, "md5", evidence_of(found, expected, md5))
    verified_by, part_size = await in_thread(found.st_size, _with_file, target, partial(_verified, expected))
    if verified_by is None:
        return DIFFERS
    return ExistingFile(True, None, None, verified_by, evidence_of(found, expected, ref.etag, part_size))


def _recorded_etag(evidence: Evidence | None, found: os.stat_result) -> str | None:
    """The etag that the object had when its file was written, None where the file has changed since."""
    if evidence is None or evidence.etag is None or evidence.etag.startswith("W/"):
        return None
    now = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return evidence.etag if now == (evidence.size, evidence.mtime_ns, evidence.ctime_ns) else None


def evidence_of(found: os.stat_result, expected: ExpectedDigest, etag: str | None, part_size: int = 0) -> Evidence:
    """The evidence for an object whose file is in the state `found`."""
    return Evidence(found.st_size, found.st_mtime_ns, found.st_ctime_ns, etag, expected.checksum, part_size)


def _with_file(target: Target, work: Callable[[int], T]) -> T:
    """The result of work on the descriptor of the existing file. Raises OSError."""
    descriptor = target.open()
    try:
        return work(descriptor)
    finally:
        os.close(descriptor)


def _md5(descriptor: int) -> str:
    """The md5 of an open file, in hex."""
    digest = hasher("md5")
    for block in descriptor_blocks(descriptor):
        digest.update(block)
    return digest.digest().hex()


def _verified(expected: ExpectedDigest, descriptor: int) -> tuple[str | None, int]:
    """The name of the digest that proves an open file to be the object (None: nothing does), and its part size."""
    verifier = Verifier(expected)
    with suppress(MismatchError):
        if verifier.verified(lambda: descriptor_blocks(descriptor)) == expected.name:
            return expected.name, verifier.part_size
    return None, 0
