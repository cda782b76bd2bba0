"""Checksums of files, and files without one."""

import hashlib
import os
import zlib
from base64 import b64encode
from pathlib import Path

import pytest

from bulkpresign.checksums import checksum_problem
from bulkpresign.errors import NameRefusedError
from bulkpresign.model import ObjectRef
from bulkpresign.proof.hashing import FileHasher, FileProblem
from bulkpresign.transfer.disk.folder import Folder

BODIES = [b"", b"a", os.urandom(1 << 20), os.urandom((2 << 20) + 3)]


def summed(folder: Path, ref: ObjectRef, algorithm: str = "crc32") -> ObjectRef | FileProblem:
    (result,) = FileHasher(Folder(folder).open_source, Folder(folder).file, algorithm, lambda: None)([ref])
    return result


@pytest.mark.parametrize("body", BODIES, ids=[len(body) for body in BODIES])
@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "crc32"])
def test_the_standard_library_says_the_same(tmp_path: Path, body: bytes, algorithm: str) -> None:
    (tmp_path / "a").write_bytes(body)
    digest = zlib.crc32(body).to_bytes(4, "big") if algorithm == "crc32" else hashlib.new(algorithm, body).digest()
    expected = ObjectRef("b", "k", size=len(body), checksum=f"{algorithm}:{b64encode(digest).decode()}", path="a")
    assert summed(tmp_path, ObjectRef("b", "k", path="a"), algorithm) == expected
    assert summed(tmp_path, expected, algorithm) == expected


@pytest.mark.parametrize(("algorithm", "value"), [("crc32c", "4waSgw=="), ("crc64nvme", "rosUhgp5mIg=")])
def test_published_values(tmp_path: Path, algorithm: str, value: str) -> None:
    """The check values of the CRC catalogue, for the text 123456789."""
    (tmp_path / "a").write_text("123456789")
    result = summed(tmp_path, ObjectRef("b", "a", checksum="md5:x"), algorithm)
    assert isinstance(result, ObjectRef)
    assert result.checksum == f"{algorithm}:{value}"
    assert checksum_problem(result.checksum) is None


def test_a_block_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(BODIES[-1])
    blocks: list[None] = []
    FileHasher(Folder(tmp_path).open_source, Folder(tmp_path).file, "crc32", lambda: blocks.append(None))(
        [ObjectRef("b", "a")]
    )
    assert len(blocks) == 3


def test_files_without_a_checksum(tmp_path: Path) -> None:
    def refuse(path: str) -> int:
        raise NameRefusedError(path, "no")

    (tmp_path / "folder").mkdir()
    (tmp_path / "a").write_text("a")
    os.mkfifo(tmp_path / "pipe")
    for ref, unfit in [
        (ObjectRef("b", "gone"), FileProblem(f"{tmp_path}/gone can't be read: No such file or directory")),
        (ObjectRef("b", "folder"), FileProblem(f"{tmp_path}/folder is not a file")),
        (ObjectRef("b", "pipe"), FileProblem(f"{tmp_path}/pipe is not a file")),
        (ObjectRef("b", "a", size=2), FileProblem(f"{tmp_path}/a has 1 byte, the row says 2", "size")),
    ]:
        assert summed(tmp_path, ref) == unfit
    assert FileHasher(refuse, str, "crc32", lambda: None)([ObjectRef("b", "x")]) == [
        FileProblem("path 'x' is refused: no")
    ]
