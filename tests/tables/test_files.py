import gzip
import io
import os
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError, OutputError
from bulkpresign.tables import Table
from bulkpresign.tables.files import line_blocks, not_empty, open_output, text_blocks
from tests.support.folders import names_in
from tests.tables.blocks import block_size

TEXTS = st.text(st.sampled_from("ab\n\r é€😀\0"), min_size=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files") / "table.csv"


@given(text=TEXTS, size=st.integers(1, 9), bom=st.booleans())
def test_text_comes_whole_wherever_blocks_are_cut(file: Path, text: str, size: int, bom: bool) -> None:
    file.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.encode())
    with block_size(size):
        blocks = list(line_blocks(str(file)))
        assert "".join(text_blocks(str(file))) == text
    assert "".join(blocks) == text
    assert all(block.endswith("\n") for block in blocks[:-1])


@given(before=TEXTS, after=st.binary(), size=st.integers(1, 9))
def test_an_invalid_utf8_byte_is_reported_with_its_line(file: Path, before: str, after: bytes, size: int) -> None:
    file.write_bytes(before.encode() + b"\xff" + after)
    with block_size(size), pytest.raises(ManifestError, match="byte 0xff is not UTF-8") as caught:
        list(text_blocks(str(file)))
    assert caught.value.line == before.count("\n") + 1


def test_a_file_is_closed_while_its_error_is_kept(file: Path) -> None:
    """The error has the frames in which the file is read."""
    file.write_bytes(b"key\n\xff")
    with pytest.raises(ManifestError) as caught:
        list(text_blocks(str(file)))
    assert str(file) in str(caught.value)
    assert file not in {one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}


@given(text=TEXTS, size=st.integers(1, 9), big=st.booleans())
def test_utf16_with_a_byte_order_mark_is_read(file: Path, text: str, size: int, big: bool) -> None:
    assume(not text.startswith("\0"))  # it would be UTF-32
    file.write_bytes(f"\ufeff{text}".encode("utf-16-be" if big else "utf-16-le"))
    with block_size(size):
        assert "".join(text_blocks(str(file))) == text


@pytest.mark.parametrize(
    ("end", "words"), [(b"\x00", "byte 0x00"), (b"\x00\xd8a\0", "byte 0x00"), (b"\x00\xdc", "byte")]
)
@pytest.mark.parametrize("size", [1, 2, 1 << 20])
def test_invalid_utf16_is_reported_with_its_line(file: Path, end: bytes, words: str, size: int) -> None:
    file.write_bytes("\ufeffa\nb€\n".encode("utf-16-le") + end)
    with block_size(size), pytest.raises(ManifestError, match=rf"{words}.* is not UTF-16") as caught:
        list(text_blocks(str(file)))
    assert caught.value.line == 3


def test_utf32_is_refused(file: Path) -> None:
    file.write_bytes("\ufeffkey\n".encode("utf-32-le"))
    with pytest.raises(ManifestError, match="UTF-32 is not supported: save the file as UTF-8"):
        list(text_blocks(str(file)))


@pytest.mark.parametrize("name", ["blank.csv.gz", "blank.jsonl.gz", "blank.json.gz", "blank.txt.gz"])
@pytest.mark.parametrize("blank", [b"\n", b" ", b"\r\n", b" " * 99 + b"\n"])
def test_too_many_blank_lines_are_refused(tmp_path: Path, name: str, blank: bytes) -> None:
    file = tmp_path / name
    with gzip.open(file, "wb", compresslevel=1) as stream:
        stream.write(b'[\n"a"' if "json." in name else b'"a"\n' if "jsonl" in name else b"key\n")
        for _ in range(24):
            stream.write(blank * ((1 << 20) // len(blank)))
    with pytest.raises(ManifestError, match=r"over 8 MiB of blank lines|a line of over 1 MiB"):
        for rows in Table(str(file)):
            assert len(rows.cells) <= 1 or (blank.strip(b"\n") and ("csv" in name or "txt" in name))  # keys of blanks


def test_blank_lines_are_skipped(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(("\n" * (3 << 20) + "a\n") * 4)
    assert [line for rows in Table(str(file)) for line in rows.lines] == [((3 << 20) + 1) * n for n in range(1, 5)]


def test_the_line_is_right_after_the_first_block(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_bytes(b"0123456789\n" * 200_000 + b"a\xe9b\n")
    with pytest.raises(ManifestError) as caught:
        list(line_blocks(str(file)))
    assert (
        str(caught.value)
        == f"{file}:200001: byte 0xe9 is not UTF-8: save the file as UTF-8, in a spreadsheet as CSV UTF-8"
    )


def test_a_character_cut_off_at_the_end_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "cut.csv"
    file.write_bytes("a\nb€".encode()[:-1])
    with pytest.raises(ManifestError, match=r"cut.csv:2: byte 0xe2 is not UTF-8"):
        list(text_blocks(str(file)))


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_text("a\n" + "x" * (4 << 20))
    with pytest.raises(ManifestError, match=r"long.csv:2: a line of over 1 MiB"):
        list(line_blocks(str(file)))


@pytest.mark.parametrize("content", [b"", gzip.compress(b"")], ids=["plain", "gz"])
def test_an_empty_file_is_reported(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ("empty.csv.gz" if content else "empty.csv")
    file.write_bytes(content)
    with pytest.raises(ManifestError, match="the file is empty"):
        list(not_empty(str(file), text_blocks(str(file))))


def test_gzip_with_several_members_and_an_upper_case_extension(tmp_path: Path) -> None:
    file = tmp_path / "TABLE.CSV.GZ"
    file.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert "".join(text_blocks(str(file))) == "a\nb\n"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("content", [gzip.compress(b"key\na\n"), b"key\na\n"], ids=["gzip", "plain"])
def test_gzip_is_told_by_the_bytes(name: str, content: bytes, tmp_path: Path) -> None:
    """Browsers unpack a file with a Content-Encoding and keep its name; mail programs give it another one."""
    (tmp_path / name).write_bytes(content)
    assert "".join(text_blocks(str(tmp_path / name))) == "key\na\n"


@pytest.mark.parametrize(
    "content",
    [gzip.compress(os.urandom(5000))[:-2000], gzip.compress(b"a") + b"x"],
    ids=["cut", "trailing bytes"],
)
def test_damaged_gzip_files_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "keys.csv.gz"
    file.write_bytes(content)
    with pytest.raises(ManifestError, match=r"keys.csv.gz: not a whole gzip file"):
        list(text_blocks(str(file)))


@pytest.mark.parametrize("name", ["missing.csv", "missing/keys.csv", "a\0b"])
def test_files_that_cannot_be_opened_are_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match=r"no such file|can't be read"):
        list(text_blocks(f"{tmp_path}/{name}"))


def test_output_appears_complete_and_private(tmp_path: Path) -> None:
    file = tmp_path / "links.csv"
    with open_output(str(file)) as output:
        output.write(b"half")
        assert not file.exists()
        assert stat.S_IMODE(next(tmp_path.iterdir()).stat().st_mode) == 0o600
        output.write(b" whole")
    assert file.read_bytes() == b"half whole"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["links.csv"]


@pytest.mark.parametrize("name", ["links.csv", "links.csv.gz"])
def test_a_failed_write_keeps_the_old_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), open_output(str(file)) as output:
        output.write(b"new")
        raise KeyboardInterrupt
    assert file.read_bytes() == b"old"
    assert names_in(tmp_path) == [name]


def test_errors_of_the_block_are_not_translated(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), open_output(str(tmp_path / "links.csv")):
        raise ConnectionResetError("the server's")
    assert not list(tmp_path.iterdir())


def test_gz_output_is_compressed(tmp_path: Path) -> None:
    file = tmp_path / "links.csv.gz"
    with open_output(str(file)) as output:
        output.write(b"a" * 1000)
    assert gzip.decompress(file.read_bytes()) == b"a" * 1000


def test_a_symlink_is_not_replaced(tmp_path: Path) -> None:
    link, target = tmp_path / "links.csv", tmp_path / "target.csv"
    link.symlink_to(target)
    with open_output(str(link)) as output:
        output.write(b"a")
    assert link.is_symlink()
    assert target.read_bytes() == b"a"


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no device can be made here")
    with open_output(str(device)) as output:
        output.write(b"a")
    assert stat.S_ISCHR(device.stat().st_mode)


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / ("é" * 125 + ".json")
    with open_output(str(file)) as output:
        output.write(b"a")
    assert file.read_bytes() == b"a"


@pytest.mark.parametrize("name", ["", "missing/links.csv", "a\0b", "x" * 256])
def test_outputs_that_cannot_be_written_are_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="can't be written"), open_output(f"{tmp_path}/{name}"):
        pytest.fail("it is told first")
    assert not list(tmp_path.iterdir())


def test_a_full_device_is_reported() -> None:
    with (
        pytest.raises(OutputError, match="/dev/full can't be written: No space left"),
        open_output("/dev/full") as output,
    ):
        output.write(b"a" * (1 << 22))


@pytest.mark.parametrize("name", ["links.csv", "links.csv.gz"])
@pytest.mark.parametrize("count", [1, 40])
def test_a_full_disk_is_told_and_leaves_nothing(tiny_disk: Path, name: str, count: int) -> None:
    with pytest.raises(OutputError, match="No space left"), open_output(str(tiny_disk / name)) as output:
        for _ in range(count):
            output.write(os.urandom(100_000))
    assert not list(tiny_disk.iterdir())


def test_a_closed_standard_stream_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ManifestError, match="standard input is closed"):
        list(text_blocks("-"))
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(OutputError, match="standard output is closed"), open_output("-"):
        pytest.fail("it is told first")


class Narrow(io.RawIOBase):
    """Takes at most 1,000 bytes at a time, and nothing where it is full."""

    def __init__(self, most: int) -> None:
        self.taken, self.most = b"", most

    def write(self, data: Any, /) -> int | None:
        size = min(len(data), 1000, self.most - len(self.taken))
        self.taken += bytes(data[:size])
        return size or None


@pytest.mark.parametrize("data", [b"x" * 4567, memoryview(b"y" * 4567)])
def test_standard_output_without_a_buffer(data: bytes | memoryview, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with PYTHONUNBUFFERED: a write takes a part of the bytes where a disk is full, or a pipe."""
    for most, is_whole in ((9999, True), (4000, False)):
        raw = Narrow(most)
        monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=raw))
        refused = nullcontext() if is_whole else pytest.raises(OutputError, match="temporarily unavailable")
        with refused, open_output("-") as output:
            assert output.write(data) == len(data)
        assert raw.taken == bytes(data)[:most]


def test_a_manifest_for_a_full_disk_is_an_error_without_a_buffer_too(
    tiny_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    (folder / "keys.txt").write_text("".join(f"{number:0100}\n" for number in range(9000)))
    command = [sys.executable, "-u", "-m", "bulkpresign", "sign", "keys.txt", "--bucket", "data", "-o", "-"]
    secrets = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "SK", "AWS_REGION": "eu-west-1"}
    with (tiny_disk / "links.csv").open("wb") as output:
        ran = subprocess.run(
            command, stdout=output, stderr=subprocess.PIPE, cwd=folder, env=os.environ | secrets, text=True
        )
    assert ran.returncode == 2
    assert "standard output can't be written: No space left on device" in ran.stderr


def test_standard_streams_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A StringIO in their place has no `buffer`, nor has the output of a cell of a notebook."""
    shown = io.StringIO()
    monkeypatch.setattr("sys.stdout", shown)
    with open_output("-") as output:
        for byte in "a,é\n".encode():
            output.write(bytes([byte]))
        output.flush()
    assert shown.getvalue() == "a,é\n"
    with pytest.raises(OutputError, match="standard output can't be written: 'utf-8'"), open_output("-") as output:
        output.write(b"PAR1\xff")
    monkeypatch.setattr("sys.stdin", io.StringIO("key\na\n"))
    with pytest.raises(ManifestError, match="standard input has text and no bytes, as in a notebook: name a file"):
        list(text_blocks("-"))
