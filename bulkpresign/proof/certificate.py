"""Certificates: files with the digest of every object, and with one hash over all of them.

A certificate is lines of JSON. The first one is an object: the sums of the rows, and the root of the Merkle tree over
them. Each further one is a row, `[key, size, digest]`: the size in bytes, the digest in hex. Rows are in the bytewise
order of their keys in UTF-8, so the root depends on nothing but the objects. `leaf_of` is the data of a row's leaf.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Self

import msgspec

from bulkpresign import __version__
from bulkpresign.checksums import ALGORITHMS
from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.model import Certificate, utc_now
from bulkpresign.proof.merkle import MerkleTree
from bulkpresign.tables import Output
from bulkpresign.tables.files import is_stream, line_blocks
from bulkpresign.tables.sorting import KeySorter

_FORMAT, _VERSION = "bulkpresign certificate", 1
_MAX_SIZE = 1 << 63  # bytes, far beyond any object
_HEX = re.compile(r"(?:[0-9a-f]{2})+\Z")
_BATCH = 1000
_decode_row = msgspec.json.Decoder(tuple[str, int, str]).decode


class CertificateRow(NamedTuple):
    """One object: its key, its size in bytes, and the digest of its bytes."""

    key: str
    size: int
    digest: bytes


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """The proof that a row belongs to a certificate: the row, and its path to the root.

    `path` has each sibling from the leaf up: `left` or `right`, a space, and its hash in hex.
    `index` is the number of the row, from 0, of `objects`.
    """

    key: str
    size: int
    algorithm: str
    digest: str
    index: int
    objects: int
    path: list[str]
    root: str


def leaf_of(algorithm: str, row: CertificateRow) -> bytes:
    """The data of a row's leaf, such as `sha256:9f86d081... 4096 2026/report.pdf` in UTF-8."""
    return f"{algorithm}:{row.digest.hex()} {row.size} {row.key}".encode()


class CertificateWriter:
    """Takes rows in any order, in constant memory, and writes the certificate. Use as a context manager."""

    def __init__(self, algorithm: str) -> None:
        """Raises ParameterError for an unknown algorithm."""
        if algorithm not in ALGORITHMS:
            raise ParameterError(f"algorithm {algorithm!r} is not one of {', '.join(ALGORITHMS)}")
        self._algorithm = algorithm
        self._rows = KeySorter(tuple[int, bytes])

    def __enter__(self) -> Self:
        self._rows.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._rows.__exit__(*exc_info)

    def add(self, rows: Sequence[CertificateRow]) -> None:
        """Adds some rows. Raises ParameterError for a key that is not text, as the name of a file need not be."""
        try:
            self._rows.add([(row.key.encode(), (row.size, row.digest)) for row in rows])
        except UnicodeEncodeError as error:
            raise ParameterError(f"{error.object!r} is not UTF-8, so it can't be a key of a certificate") from error

    def write(self, output: Output) -> Certificate:
        """Writes all rows. Raises ParameterError for two with the same key."""
        certificate = self._certificate()
        output.write(_line(certificate))
        lines = []
        for row in self._sorted():
            lines.append(_line((row.key, row.size, row.digest.hex())))
            if len(lines) >= _BATCH:
                output.write(b"".join(lines))
                lines.clear()
        output.write(b"".join(lines))
        return certificate

    def _certificate(self) -> Certificate:
        sums = _Sums(self._algorithm)
        last: str | None = None
        for row in self._sorted():
            if row.key == last:
                raise ParameterError(f"two objects have the key {row.key!r}")
            last = row.key
            sums.add(row)
        return sums.certificate()

    def _sorted(self) -> Iterator[CertificateRow]:
        for key, (size, digest) in self._rows:
            yield CertificateRow(key.decode(), size, digest)


class CertificateReader:
    """A certificate in a file. Raises ManifestError, with file and line, for one that is not as it was written."""

    def __init__(self, file: str) -> None:
        if is_stream(file):
            raise ManifestError("a certificate is read twice: it has to be a file", file=file)
        self._file = file
        #: The first line.
        self.certificate = self._header()

    def rows(self) -> Iterator[CertificateRow]:
        """All rows, checked one by one; after the last one, that the first line fits them."""
        for row, _ in self._summed(_Sums(self.certificate.algorithm)):
            yield row

    def prove(self, key: str) -> Proof:
        """The proof for the row with a key. Raises ParameterError if there is none."""
        certificate = self.certificate
        sums = _Sums(certificate.algorithm, key)
        found = [(row, index) for row, index in self._summed(sums) if row.key == key]
        if not found:
            raise ParameterError(f"{self._file} has no row with the key {key!r}")
        ((row, index),) = found
        return Proof(
            key=key,
            size=row.size,
            algorithm=certificate.algorithm,
            digest=row.digest.hex(),
            index=index,
            objects=certificate.objects,
            path=[f"{side} {sibling.hex()}" for side, sibling in sums.tree.path],
            root=certificate.root,
        )

    def _lines(self) -> Iterator[tuple[int, str]]:
        number = 0
        for block in line_blocks(self._file):
            for number, line in enumerate(block.removesuffix("\n").split("\n"), number + 1):  # noqa: B020
                yield number, line

    def _header(self) -> Certificate:
        _, line = next(self._lines(), (1, ""))
        try:
            found = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.MsgspecError:
            found = {}
        if found.get("format") != _FORMAT:
            raise ManifestError("it is no certificate: verify --write-certificate writes them", file=self._file, line=1)
        if found.get("version") != _VERSION:
            problem = f"the certificate has version {found.get('version')}, and {_VERSION} is known"
            raise ManifestError(problem, file=self._file, line=1)
        try:
            header = msgspec.convert(found, Certificate)
        except msgspec.ValidationError as error:
            raise ManifestError(f"the certificate's first line is altered: {error}", file=self._file, line=1) from error
        if header.algorithm not in ALGORITHMS:
            known = ", ".join(ALGORITHMS)
            raise ManifestError(f"algorithm {header.algorithm!r} is not one of {known}", file=self._file, line=1)
        return header

    def _summed(self, sums: "_Sums") -> Iterator[tuple[CertificateRow, int]]:
        """The rows and their indexes. Checks the sums after the last one."""
        last = ""
        for number, line in islice(self._lines(), 1, None):
            row = self._row(line, number)
            if row.key <= last:  # the order of code points is that of their UTF-8
                problem = f"the key {row.key!r} is not after that of the line before: rows were moved or added"
                raise ManifestError(problem, file=self._file, line=number)
            last = row.key
            index = sums.objects
            sums.add(row)
            yield row, index
        self._check(sums.certificate())

    def _row(self, line: str, number: int) -> CertificateRow:
        try:
            key, size, digest = _decode_row(line)
        except msgspec.MsgspecError as error:
            raise ManifestError(f"it is no row [key, size, digest]: {error}", file=self._file, line=number) from error
        length = ALGORITHMS[self.certificate.algorithm]
        if not _HEX.match(digest) or len(digest) != 2 * length or not 0 <= size < _MAX_SIZE:
            problem = f"it has no size and {self.certificate.algorithm} of {length} bytes in hex"
            raise ManifestError(problem, file=self._file, line=number)
        return CertificateRow(key, size, bytes.fromhex(digest))

    def _check(self, found: Certificate) -> None:
        said = self.certificate
        for name in ("objects", "bytes", "root"):
            if getattr(found, name) != getattr(said, name):
                problem = f"the certificate is cut or altered: its rows have {name} {getattr(found, name)}"
                raise ManifestError(f"{problem}, its first line says {getattr(said, name)}", file=self._file)


class _Sums:
    """The sums of rows, and their tree. With `proven`, the tree has the path of that key."""

    def __init__(self, algorithm: str, proven: str | None = None) -> None:
        self._algorithm, self._proven = algorithm, proven
        self.tree = MerkleTree()
        self.objects = self.bytes = 0

    def add(self, row: CertificateRow) -> None:
        self.tree.add(leaf_of(self._algorithm, row), is_proven=row.key == self._proven)
        self.objects += 1
        self.bytes += row.size

    def certificate(self) -> Certificate:
        """Call it once, after the last row."""
        return Certificate(
            format=_FORMAT,
            version=_VERSION,
            algorithm=self._algorithm,
            objects=self.objects,
            bytes=self.bytes,
            root=self.tree.root().hex(),
            created_at=utc_now().replace(microsecond=0),
            created_by=f"bulkpresign {__version__}",
        )


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"
