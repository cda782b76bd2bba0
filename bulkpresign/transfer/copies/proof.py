"""The result of a copy, and the proof that it has the same bytes as its object. No I/O."""

from collections.abc import Mapping

import msgspec

from bulkpresign.transfer.copies.head import ObjectHead
from bulkpresign.transfer.copies.settings import CopySettings
from bulkpresign.transfer.uploads.store import md5_header


class Copied(msgspec.Struct, frozen=True, gc=False):
    """An object that was copied: its size, the etag of the copy, and what verified its bytes.

    `checksum` is the one that was computed on the way, as `algorithm:base64`; None: none was. `lacks_tags` is True
    where the object has tags, and the copy was sent with none. `tags` are those that it was sent with: see ObjectHead.
    `may_lack_tags` is True for a copy that may have lost them: some servers ignore those of an upload in parts.
    """

    size: int
    etag: str | None
    verified_by: str | None
    checksum: str | None = None
    lacks_tags: bool = False
    tags: str | None = None
    may_lack_tags: bool = False


def proof(head: ObjectHead, etag: str | None, source: str | None, target: str | None) -> str | None:
    """The name of what proves that a copy has the bytes of its object.

    It is the etag, if both have the same one, of a kind that is computed of the bytes. Else it is what verified the
    bytes that came, if those that were sent are verified as well.
    """
    if head.structure.algorithm is not None and etag == head.etag:
        return head.structure.name
    return source if target is not None else head.expected.size_name


def known_md5(head: ObjectHead) -> bytes | None:
    """The md5 of all bytes of an object, None where neither its row nor its etag tells it."""
    for each in (head.expected, head.structure):
        if each.algorithm == "md5" and not each.parts:
            return each.digest
    return None


def checksum_header(head: ObjectHead) -> Mapping[str, str]:
    """The header with the checksum of the object, by which the destination verifies it too, and keeps it."""
    expected, checksum = head.expected, head.expected.checksum
    if checksum is None or expected.parts or expected.algorithm == "md5":
        return {}
    return {f"x-amz-checksum-{expected.algorithm}": expected.shown(expected.digest)}


def digest_header(head: ObjectHead, settings: CopySettings, *, keeps_checksum: bool = True) -> Mapping[str, str] | None:
    """The header with which the destination verifies the bytes: their checksum, or the md5 where it asks for a digest.

    None where the md5 is asked for, and has to be computed.
    """
    checksum = checksum_header(head) if settings.keeps_checksums and keeps_checksum else {}
    if checksum or not settings.sends_md5:
        return checksum
    md5 = known_md5(head)
    return None if md5 is None else md5_header(md5)
