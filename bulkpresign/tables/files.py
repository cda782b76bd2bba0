"""Bytes in and out of files: gzip, UTF-8 with its place, and files that appear whole or not at all."""

import gzip
import os
import secrets
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from bulkpresign.errors import ManifestError, OutputError

STDIN = STDOUT = "-"
_BLOCK_SIZE = 1 << 20
_MAX_LINE = 16 << 20


class Output(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> int: ...


@contextmanager
def open_input(file: str) -> Iterator[BinaryIO]:
    """The bytes of a file, or of standard input for `-`; a name that ends in `.gz` is unpacked."""
    if file == STDIN:
        yield sys.stdin.buffer
        return
    try:
        with open(file, "rb") as stream:
            if file.endswith(".gz"):
                with gzip.open(stream) as unpacked:
                    yield cast(BinaryIO, unpacked)
            else:
                yield stream
    except FileNotFoundError as error:
        raise ManifestError("no such file", file=file) from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ManifestError(f"not a whole gzip file: {error}", file=file) from error
    except OSError as error:
        raise ManifestError(f"can't be read: {error.strerror or error}", file=file) from error


def text_blocks(file: str) -> Iterator[str]:
    """A file's text in blocks of about 1 MiB that end with a line.

    Raises ManifestError with the line of the first byte that is not UTF-8, and for an empty file.
    """
    lines, rest, first = 0, b"", True
    with open_input(file) as stream:
        while True:
            read = stream.read(_BLOCK_SIZE)
            block = rest + read
            if first and not block and file != STDIN:
                raise ManifestError("the file is empty", file=file)
            if first:
                block, first = block.removeprefix(b"\xef\xbb\xbf"), False
            end = block.rfind(b"\n") + 1 if read else len(block)
            rest = block[end:]
            if len(rest) > _MAX_LINE:
                raise ManifestError(f"a line of over {_MAX_LINE >> 20} MiB", file=file, line=lines + 1)
            if end:
                yield _decoded(block[:end], file, lines)
                lines += block.count(b"\n", 0, end)
            if not read:
                return


def _decoded(block: bytes, file: str, lines_before: int) -> str:
    try:
        return block.decode()
    except UnicodeDecodeError as error:
        line = lines_before + block.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"byte 0x{block[error.start]:02x} is not UTF-8", file=file, line=line) from error


@contextmanager
def open_output(file: str) -> Iterator[Output]:
    """A file, readable by its owner alone, that appears under its name when the block ends well, or not at all.

    `-` is standard output. A name that ends in `.gz` is packed. Raises OutputError where it can't be written.
    """
    if file == STDOUT:
        with _output_errors("standard output"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    path = Path(file)
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    with _output_errors(file):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb", buffering=_BLOCK_SIZE) as stream:
                with _packed(stream, file) as output:
                    yield output
                stream.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


@contextmanager
def _packed(stream: BinaryIO, file: str) -> Iterator[Output]:
    if not file.endswith(".gz"):
        yield stream
        return
    # Level 6 costs more than the signing; signatures hardly compress.
    with gzip.GzipFile(fileobj=stream, mode="wb", filename="", compresslevel=1) as packed:
        yield packed


@contextmanager
def _output_errors(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        # Python would flush again at exit and complain a second time.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"{name} was closed before all rows were written") from error
    except OSError as error:
        raise OutputError(f"{name} can't be written: {error.strerror or error}") from error
