"""The composite checksum of an object that was uploaded in parts, as its copy keeps it.

S3 takes the parts of such an upload only with their checksums, and completes it only with these. A checksum is a
header, so it has to be known before the first byte of a part is sent: parts that pass here are held in memory for that.
Source: docs "UploadPart", "CompleteMultipartUpload", "Checking object integrity".
"""

from binascii import a2b_base64
from collections.abc import Mapping, Sequence

from bulkpresign.checksums import base64_of, digest_of
from bulkpresign.errors import MismatchError
from bulkpresign.model import UploadPart
from bulkpresign.transfer.uploads.store import signed_checksum

#: Parts that are held at the same time, at most. Larger ones are not held: the copy has no composite checksum then.
HELD_PARTS = 4
LARGEST_HELD_PART = 16 << 20


def signed_composite(parts: Sequence[UploadPart]) -> "Composite | None":
    """The checksums that the links of all parts sign. None where one signs none, or by another algorithm."""
    signed = [signed_checksum(part.link) for part in parts]
    algorithms = {each.algorithm for each in signed}
    algorithm = algorithms.pop() if len(algorithms) == 1 else None
    if algorithm is None:
        return None
    return Composite(algorithm, {part.number: each.digest for part, each in zip(parts, signed, strict=True)})


class Composite:
    """The digests of the parts of one copy, by `algorithm`, as far as they are known.

    `signed` are those that the links of the parts sign, by number.
    """

    def __init__(self, algorithm: str, signed: Mapping[int, bytes] | None = None) -> None:
        self.algorithm = algorithm
        self._signed = signed or {}
        self._digests = dict(self._signed)

    def add(self, number: int, digest: bytes) -> None:
        """Takes note of the digest of a part."""
        self._digests[number] = digest

    def header(self, digest: bytes) -> dict[str, str]:
        """The header with which a part is sent."""
        return {f"x-amz-checksum-{self.algorithm}": base64_of(digest)}

    def checksum(self, number: int) -> str | None:
        """The checksum of a part as `algorithm:base64`, None where it is not known."""
        digest = self._digests.get(number)
        return None if digest is None else f"{self.algorithm}:{base64_of(digest)}"

    def restore(self, number: int, checksum: str) -> bool:
        """Adds the checksum of a part from the record of an earlier run. False if it has none by this algorithm."""
        algorithm, _, value = checksum.partition(":")
        if algorithm != self.algorithm:
            return False
        self.add(number, a2b_base64(value))
        return True

    def forget(self) -> None:
        """Discards all digests but those that links sign."""
        self._digests = dict(self._signed)

    @property
    def digest(self) -> bytes:
        """The digest of the digests of all parts."""
        return digest_of(self.algorithm, b"".join(self._digests[number] for number in sorted(self._digests)))

    def check(self, checksums: Mapping[str, str], parts: int) -> None:
        """Compares the checksum of an object that was completed, of a number of parts, where there is one.

        Raises MismatchError.
        """
        found, ours = checksums.get(self.algorithm), f"{base64_of(self.digest)}-{parts}"
        if found is not None and "-" in found and len(self._digests) == parts and found != ours:
            message = f"the copy has {self.algorithm} {found}, its parts make {ours}"
            raise MismatchError(message, code="ChecksumMismatch")
