"""Certificates: one root for the same objects, and no certificate that was changed is believed."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.model import Certificate
from bulkpresign.proof.certificate import CertificateReader, CertificateRow, CertificateWriter
from bulkpresign.tables import open_output

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
ROWS = st.dictionaries(KEYS, st.tuples(st.integers(0, 2**50), st.binary(min_size=4, max_size=4)), max_size=20)


class Kept:
    """An output in memory."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes | memoryview, /) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        pass


def written(rows: list[CertificateRow], algorithm: str = "crc32") -> tuple[Certificate, bytes]:
    output = Kept()
    with CertificateWriter(algorithm) as writer:
        for row in rows:
            writer.add([row])
        return writer.write(output), output.data


@given(ROWS, st.randoms(use_true_random=False))
def test_one_root_whatever_the_order_of_work(found: dict[str, tuple[int, bytes]], rng: random.Random) -> None:
    rows = [CertificateRow(key, size, digest) for key, (size, digest) in found.items()]
    first, data = written(rows)
    rng.shuffle(rows)
    second, other = written(rows)
    assert data.splitlines()[1:] == other.splitlines()[1:]
    assert (first.root, first.objects, first.bytes) == (second.root, len(rows), sum(row.size for row in rows))
    keys = [json.loads(line)[0] for line in data.decode().split("\n")[1:-1]]
    assert keys == sorted(found, key=str.encode)


@given(ROWS.filter(bool), st.data())
def test_a_change_of_any_row_changes_the_root(found: dict[str, tuple[int, bytes]], data: st.DataObject) -> None:
    rows = [CertificateRow(key, size, digest) for key, (size, digest) in found.items()]
    root = written(rows)[0].root
    number = data.draw(st.integers(0, len(rows) - 1))
    row = rows[number]
    for changed in (
        row._replace(size=row.size + 1),
        row._replace(key=row.key + "!"),
        row._replace(digest=bytes([row.digest[0] ^ 1, *row.digest[1:]])),
    ):
        if changed.key == row.key or changed.key not in found:
            assert written([*rows[:number], changed, *rows[number + 1 :]])[0].root != root
    assert written([*rows[:number], *rows[number + 1 :]])[0].root != root
    assert written(rows, "crc32c")[0].root != root


def rows(count: int = 5) -> list[CertificateRow]:
    return [CertificateRow(f"d/{number}", number, bytes([number] * 32)) for number in range(count)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "c.jsonl").write_bytes(written(rows(), "sha256")[1])
    return tmp_path / "c.jsonl"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    awkward = ["a\nb\r", "é\u2028", "\U0001f600", 'quote"', "a/b", "a-b", " "]
    given = [CertificateRow(key, 1 << 40, bytes(32)) for key in awkward]
    for name in ("c.jsonl", "c.jsonl.gz"):
        with CertificateWriter("sha256") as writer, open_output(str(tmp_path / name)) as output:
            writer.add(given)
            certificate = writer.write(output)
        reader = CertificateReader(str(tmp_path / name))
        assert reader.certificate == certificate
        assert list(reader.rows()) == sorted(given, key=lambda row: row.key.encode())
    packed, plain = gzip.decompress((tmp_path / "c.jsonl.gz").read_bytes()), (tmp_path / "c.jsonl").read_bytes()
    assert packed.splitlines()[1:] == plain.splitlines()[1:]  # the first line has the time


def test_no_objects(tmp_path: Path) -> None:
    certificate, data = written([])
    (tmp_path / "c").write_bytes(data)
    assert (certificate.objects, certificate.bytes) == (0, 0)
    assert list(CertificateReader(str(tmp_path / "c")).rows()) == []


def test_keys_that_no_certificate_has() -> None:
    with pytest.raises(ParameterError, match="two objects have the key 'd/1'"):
        written([*rows(), rows()[1]], "sha256")
    with pytest.raises(ParameterError, match=r"'\\udcff' is not UTF-8, so it can't be a key"):
        written([CertificateRow("\udcff", 0, bytes(32))], "sha256")
    with pytest.raises(ParameterError, match="algorithm 'sha512' is not one of crc64nvme, "):
        CertificateWriter("sha512")


def header(**changes: Any) -> Any:
    def change(lines: list[str]) -> None:
        lines[0] = json.dumps(json.loads(lines[0]) | changes)

    return change


def line(number: int, text: str) -> Any:
    def change(lines: list[str]) -> None:
        lines[number] = text

    return change


DIGEST = "00" * 32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: lines.pop(), "c.jsonl: the certificate is cut or altered: its rows have objects 4, its first"),
        (lambda lines: lines.append(f'["e",0,"{DIGEST}"]'), "its rows have objects 6, its first line says 5"),
        (line(2, f'["d/1",2,"{DIGEST}"]'), "its rows have bytes 11, its first line says 10"),
        (line(2, f'["d/1",1,"{DIGEST}"]'), "its rows have root [0-9a-f]{64}, its first line says [0-9a-f]{64}"),
        (line(2, f'["d/11",1,"{"01" * 32}"]'), "its rows have root"),
        (lambda lines: lines.insert(2, lines.pop(3)), "c.jsonl:4: the key 'd/1' is not after that of the line before"),
        (lambda lines: lines.append(lines[-1]), "c.jsonl:7: the key 'd/4' is not after"),
        (line(3, '["d/2",2]'), r"c.jsonl:4: it is no row \[key, size, digest\]"),
        (line(3, '["d/2",2,"0g"]'), "c.jsonl:4: it has no size and sha256 of 32 bytes in hex"),
        (line(3, f'["d/2",{1 << 63},"{DIGEST}"]'), "c.jsonl:4: it has no size"),
        (line(3, '["d/2",-2,"' + DIGEST + '"]'), "c.jsonl:4: it has no size"),
        (line(3, ""), "c.jsonl:4: it is no row"),
        (line(3, '["\\ud800",2,"' + DIGEST + '"]'), "c.jsonl:4: it is no row"),
        (header(root="0" * 64), "its rows have root"),
        (header(algorithm="crc32c"), "c.jsonl:2: it has no size and crc32c of 4 bytes in hex"),
        (header(algorithm="sha512"), "c.jsonl:1: algorithm 'sha512' is not one of crc64nvme"),
        (header(version=2), "c.jsonl:1: the certificate has version 2, and 1 is known"),
        (header(objects="5"), "c.jsonl:1: the certificate's first line is altered: Expected `int`"),
        (header(format="other"), "c.jsonl:1: it is no certificate: verify --write-certificate"),
        (lambda lines: lines.pop(0), "c.jsonl:1: it is no certificate"),
        (lambda lines: lines.clear(), "c.jsonl:1: it is no certificate"),
    ],
)
def test_a_certificate_that_was_changed(file: Path, change: Any, words: str) -> None:
    lines = file.read_text().splitlines()
    change(lines)
    file.write_text("\n".join(lines))
    for read in (lambda: list(CertificateReader(str(file)).rows()), lambda: CertificateReader(str(file)).prove("d/0")):
        with pytest.raises(ManifestError, match=words):
            read()


@given(st.data())
def test_any_change_of_a_byte_is_refused_or_changes_no_row(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    whole = bytearray(written(rows(), "sha256")[1])
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    file = tmp_path_factory.getbasetemp() / "changed.jsonl"
    file.write_bytes(whole)
    try:
        assert list(CertificateReader(str(file)).rows()) == rows()
    except ManifestError as error:
        assert str(error).startswith(str(file))


def test_a_certificate_that_is_cut_in_the_middle_of_a_line(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ManifestError, match=r"c.jsonl:6: it is no row"):
        list(CertificateReader(str(file)).rows())
    packed = tmp_path / "c.gz"
    packed.write_bytes(gzip.compress(file.read_bytes())[:-9])
    with pytest.raises(ManifestError, match=r"c.gz: not a whole gzip file"):
        list(CertificateReader(str(packed)).rows())


def test_a_key_without_a_row(file: Path) -> None:
    assert CertificateReader(str(file)).prove("d/4").index == 4
    with pytest.raises(ParameterError, match=r"c.jsonl has no row with the key 'd/5'"):
        CertificateReader(str(file)).prove("d/5")
    with pytest.raises(ManifestError, match="-: a certificate is read twice: it has to be a file"):
        CertificateReader("-")
    with pytest.raises(ManifestError, match=r"none.jsonl: no such file"):
        CertificateReader(str(file.with_name("none.jsonl")))
