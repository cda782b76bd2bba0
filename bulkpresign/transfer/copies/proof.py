"""The result of a copy, and the proof that it has the same bytes as its object. No I/O."""

from collections.abc import Mapping

import msgspec

from bulkpresign.transfer.copies.head import ObjectHead


class Copied(msgspec.Struct, frozen=True, gc=False):
    """An object that was copied: its size, the etag of the copy, and what verified its bytes.

    `checksum` is the one that was computed on the way, as `algorithm:base64`; None: none was.
    """

    size: int
    etag: str | None
    verified_by: str | None
    checksum: str | None = None


def proof(head: ObjectHead, etag: str | None, source: str | None, target: str | None) -> str | None:
    """The name of what proves that a copy has the bytes of its object.

    That are equal etags of a kind that tells bytes; else what verified the bytes that came, if those that went are
    verified as well.
    """
    if head.structure.algorithm is not None and etag == head.etag:
        return head.structure.name
    return source if target is not None else head.expected.size_name


class KeptChecksums:
    """The checksums of objects as headers of their copies, until the destination turns out to refuse such headers."""

    def __init__(self) -> None:
        self.are_refused = False

    def header(self, head: ObjectHead) -> Mapping[str, str]:
        """The header with the checksum of the object, by which the destination verifies it too, and keeps it."""
        expected, checksum = head.expected, head.expected.checksum
        if self.are_refused or checksum is None or expected.parts or expected.algorithm == "md5":
            return {}
        return {f"x-amz-checksum-{expected.algorithm}": expected.shown(expected.digest)}
