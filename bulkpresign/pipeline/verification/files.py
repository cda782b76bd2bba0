"""Compares pairs of which one or both are local files. Runs in threads."""

from collections.abc import Callable, Sequence

import msgspec
from anyio import from_thread

from bulkpresign.model import ObjectRef, Outcome
from bulkpresign.pipeline.verification.entries import ALGORITHM, Pair
from bulkpresign.pipeline.verification.sides import FolderSide, Side
from bulkpresign.proof.files import FileVerifier, Row
from bulkpresign.proof.hashing import FileHasher, FileProblem


class FileComparer:
    """Hashes the files of pairs. Several threads may call it at once.

    `on_read` is called with the number of bytes read; it may raise to stop.
    """

    def __init__(self, first: Side, second: Side, on_read: Callable[[int], object]) -> None:
        folders = [side.folder for side in (first, second) if isinstance(side, FolderSide)]
        self._hash: FileHasher | None = None
        self._verify: FileVerifier | None = None
        if folders:  # of two folders, the files of the first one are hashed, and those of the second one verified
            self._hash = FileHasher(folders[0].open_source, folders[0].file, ALGORITHM, from_thread.check_cancelled)
            self._verify = FileVerifier(folders[-1].open_source, on_read)

    def __call__(self, pairs: Sequence[tuple[str, Pair]]) -> list[Outcome]:
        """The outcome of each pair, with the object of its first side: `done`, or `failed` with a code."""
        return [self._outcome(path, pair) for path, pair in pairs]

    def _outcome(self, path: str, pair: Pair) -> Outcome:
        assert self._verify is not None  # noqa: S101 - one of the pair is a file
        ref = pair.one.ref(path)
        expected: ObjectRef | FileProblem = pair.other.ref(path) if pair.one.is_file else ref
        if pair.one.is_file and pair.other.is_file:
            expected = self.hashed(ref)
        if isinstance(expected, FileProblem):
            return Outcome(ref, "failed", code="Unreadable", message=expected.problem)
        (outcome,) = self._verify([Row(expected)])
        return msgspec.structs.replace(outcome, object=ref)

    def hashed(self, ref: ObjectRef) -> ObjectRef | FileProblem:
        """A file with its size and checksum, or the problem with it."""
        assert self._hash is not None  # noqa: S101 - one side is a folder
        return self._hash([ref])[0]
