"""Reads and writes files: gzip, text with line numbers, and atomic writes."""

import codecs
import errno
import gzip
import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from io import BufferedReader, RawIOBase
from itertools import chain
from pathlib import Path, PurePath
from typing import BinaryIO, Protocol, TextIO, cast

from bulkpresign.errors import ManifestError, OutputError, ParameterError
from bulkpresign.model import without_query

STDIN = STDOUT = "-"
_STDOUT_NAME = "standard output"
_BLOCK_SIZE = 1 << 20
_MAX_LINE = 1 << 20
_MAX_BLANKS = 8 << 20
#: The start of a page for a login, or of an error of S3, which were saved under the name of a list.
_PAGE = re.compile(r"\s*<(?:\?xml|!doctype|html|error)\b", re.IGNORECASE)
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_TEMPORARY_SUFFIX = ".tmp"
#: A url, which would be the folder `s3:` as a name; pathlib makes one slash of two. A folder of this name is `./s3:/`.
_URL = re.compile(r"s3:/|[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


#: The advice for an output in a bucket.
WRITTEN_LOCALLY = "write a local file, and put uploads the folder that it is in"


class Output(Protocol):
    """A destination for bytes."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Writes all of `data`."""
        ...

    def flush(self) -> None:
        """Writes all buffered bytes to the destination. Raises OutputError if that fails."""
        ...


def is_stream(file: str) -> bool:
    """True for an input that can be read only once: standard input, a pipe, a device."""
    return file == STDIN or _is_device(file)


def check_local(name: str, advice: str) -> None:
    """Raises ParameterError, with the advice, for the name of a file or folder to use that is a url."""
    if _URL.match(name):
        kind = "in a bucket" if name.lower().startswith("s3:") else "a url"
        raise ParameterError(f"{without_query(name)[:200]} is {kind}, and a local name is needed: {advice}")


def is_packed(file: str) -> bool:
    """True for the name of a gzip file."""
    return file.lower().endswith(".gz")


def text_blocks(file: str) -> Iterator[str]:
    """A file's text in blocks of about 1 MiB. `-` is standard input; what is gzip is decompressed.

    The text is UTF-8, or UTF-16 if it starts with a byte order mark. Raises ManifestError for a file that can't be
    read, or is a page or XML, for an invalid byte (with its line), and for more than 8 MiB of white space: a small gzip
    file can hold so many blank lines that reading it takes hours.
    """
    with closing(_byte_blocks(file)) as read:  # also where an error keeps the frames that read from it
        for text, _ in _decoded(file, read):
            yield text


def _decoded(file: str, read: Iterator[bytes]) -> Iterator[tuple[str, int]]:
    """The text of each block, and the lines up to its end."""
    encoding, blocks = _encoded(file, read)
    decoder = codecs.getincrementaldecoder(encoding)()
    lines, blanks, is_first = 0, 0, True
    for block in chain(blocks, (b"",)):  # an empty block ends the text
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise _not_decoded(error, file, encoding, lines) from error
        if not text:
            continue
        if is_first and _PAGE.match(text):
            problem = "a page or an XML document, such as the error of a server, and no list: fetch the file again"
            raise ManifestError(problem, file=file)
        is_first = False
        blanks = blanks + len(text) if text.isspace() else 0
        if blanks > _MAX_BLANKS:
            raise ManifestError(f"over {_MAX_BLANKS >> 20} MiB of blank lines without a row", file=file, line=lines + 1)
        lines += text.count("\n")
        yield text, lines


def _encoded(file: str, blocks: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    """The encoding, by the byte order mark, and all bytes after a mark of UTF-16."""
    start = b""
    for block in blocks:
        start += block
        if len(start) >= len(codecs.BOM_UTF32_LE):
            break
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise ManifestError("UTF-32 is not supported: save the file as UTF-8", file=file)
    encoding = next((encoding for mark, encoding in _UTF16.items() if start.startswith(mark)), "utf-8-sig")
    rest = start[2:] if encoding in _UTF16.values() else start
    return encoding, chain((rest,) if rest else (), blocks)


def line_blocks(file: str) -> Iterator[str]:
    """The same text in blocks of whole lines. Only the last block may end without a line end."""
    rest = ""
    with closing(_byte_blocks(file)) as read:
        for text, lines in _decoded(file, read):
            end = text.rfind("\n") + 1
            if end:
                yield rest + text[:end]
            rest = text[end:] if end else rest + text
            if len(rest) > _MAX_LINE:
                raise ManifestError(f"a line of over {_MAX_LINE >> 20} MiB", file=file, line=lines + 1)
    if rest:
        yield rest


def not_empty(file: str, blocks: Iterator[str]) -> Iterator[str]:
    """The same blocks. Raises ManifestError if there are none, except for standard input."""
    block = None
    for block in blocks:
        yield block
    if block is None and file != STDIN:
        raise ManifestError("the file is empty", file=file)


def _byte_blocks(file: str) -> Generator[bytes, None, None]:
    with _opened(file) as stream:
        while block := stream.read(_BLOCK_SIZE):
            yield block


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    try:
        if file == STDIN:
            if sys.stdin is None:
                raise ManifestError("standard input is closed", file=file)
            if not hasattr(sys.stdin, "buffer"):
                raise ManifestError("standard input has text and no bytes, as in a notebook: name a file", file=file)
            yield _unpacked(file, sys.stdin.buffer)
        else:
            with Path(file).open("rb") as stream:
                yield _unpacked(file, stream)
    except FileNotFoundError:
        hint = "" if PurePath(file).suffix and "://" not in file else "; objects of a bucket are s3://bucket/prefix/"
        raise ManifestError(f"no such file{hint}", file=file) from None  # its message has the name, which may be a link
    except IsADirectoryError as error:
        raise ManifestError("a folder is no list of objects; bulkpresign put uploads one", file=file) from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ManifestError(f"not a whole gzip file: {error}", file=file) from error
    except (OSError, ValueError) as error:  # ValueError: a name with NUL
        raise ManifestError(f"can't be read: {getattr(error, 'strerror', None) or error}", file=file) from None


def _unpacked(file: str, stream: BinaryIO) -> BinaryIO:
    """The stream, decompressed if it is gzip by its first bytes: browsers and mail programs unpack `.gz`, or rename it.

    Raises ManifestError for a zip file.
    """
    start = stream.peek(len(_ZIP))[: len(_ZIP)] if isinstance(stream, BufferedReader) else b""
    if start == _ZIP:
        raise ManifestError("a zip file, as workbooks are: unpack it, or save the sheet as CSV", file=file)
    return cast("BinaryIO", gzip.GzipFile(fileobj=stream)) if start.startswith(_GZIP) else stream


def _not_decoded(error: UnicodeDecodeError, file: str, encoding: str, lines_before: int) -> ManifestError:
    before = error.object[: error.start].decode(encoding, "ignore")
    name = "UTF-16" if encoding in _UTF16.values() else "UTF-8"
    hint = ": save the file as UTF-8, in a spreadsheet as CSV UTF-8" if name == "UTF-8" else ""
    problem = f"byte 0x{error.object[error.start]:02x} is not {name}{hint}"
    return ManifestError(problem, file=file, line=lines_before + before.count("\n") + 1)


@contextmanager
def open_output(file: str, final_name: Callable[[], str] | None = None) -> Iterator[Output]:
    """Opens a file to be written, as a context manager. The file appears when the block ends without an error.

    Only its owner can read it. `-` is standard output, which gets text where it takes no bytes; a device or a pipe is
    written directly. If the name ends in `.gz`, the file is compressed. `final_name` gives the name with which the file
    appears, in the same folder, where that is known at the end of the block only. Raises OutputError if the file can't
    be written, and ParameterError for a url.
    """
    if file == STDOUT:
        if sys.stdout is None:
            raise OutputError(f"{_STDOUT_NAME} is closed")
        stream = getattr(sys.stdout, "buffer", None) or _TextStream(sys.stdout)
        if isinstance(stream, RawIOBase):
            stream = _RawStream(stream)
        with _writer(_STDOUT_NAME, cast("BinaryIO", stream)) as output:
            yield output
    elif _is_device(file):
        with _output_errors(file):
            device = Path(file).open("wb")  # noqa: SIM115 - closed below
        try:
            with _writer(file, device) as output:
                yield output
        finally:
            with suppress(OSError):  # the first error was raised already
                device.close()
    else:
        with _atomic_file(file, final_name) as output:
            yield output


def check_output(file: str) -> None:
    """Raises what `open_output` raises for a file. A long run checks the file that it writes last."""
    if appears_whole(file):
        _, temporary, descriptor = _temporary_file(file)
        os.close(descriptor)
        temporary.unlink()


def _temporary_file(file: str) -> tuple[Path, Path, int]:
    """The path of a file, and a new temporary file beside it with its descriptor.

    Raises OutputError, and ParameterError for a url.
    """
    if not file:  # realpath takes it for the current folder
        raise OutputError("the name of the file to write is empty: name one; - is standard output")
    check_local(file, WRITTEN_LOCALLY)
    with _output_errors(file):
        with suppress(FileNotFoundError):
            os.stat(file)  # noqa: PTH116 - refused for links of others in a folder such as /tmp, which realpath follows
        path = Path(os.path.realpath(file))
        if path.is_dir():
            raise OutputError(f"{file} can't be written: it is a folder")
        temporary = path.with_name(f"{_temporary_stem(path.name)}{os.urandom(4).hex()}{_TEMPORARY_SUFFIX}")
        return path, temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)


def _temporary_stem(name: str) -> str:
    return f".{name[:50]}."


def is_temporary_of(file: str, found: str) -> bool:
    """True if a file has a name that `open_output` gives to `file` until it is whole. Both are whole paths."""
    (folder, name), (beside, temporary) = os.path.split(file), os.path.split(found)
    return folder == beside and temporary.startswith(_temporary_stem(name)) and temporary.endswith(_TEMPORARY_SUFFIX)


@contextmanager
def _atomic_file(file: str, final_name: Callable[[], str] | None) -> Iterator[Output]:
    path, temporary, descriptor = _temporary_file(file)
    stream = os.fdopen(descriptor, "wb", buffering=_BLOCK_SIZE)
    try:
        with _writer(file, stream) as output:
            yield output
        with _output_errors(file):
            os.fsync(descriptor)
            stream.close()
            temporary.replace(path if final_name is None else os.path.realpath(final_name()))
    except BaseException:
        with suppress(OSError):
            stream.close()
        with suppress(OSError):
            temporary.unlink()
        raise


@contextmanager
def _writer(file: str, stream: BinaryIO) -> Iterator[Output]:
    """Writes into `stream`, compressed if the name ends in `.gz`, and flushes it at the end."""
    # Level 6 takes longer than the signing, and signatures hardly compress.
    packed = gzip.GzipFile(fileobj=stream, mode="wb", filename="", compresslevel=1) if is_packed(file) else None
    try:
        yield _ErrorTranslator(file, cast("BinaryIO", packed or stream))
        with _output_errors(file):
            if packed:
                packed.close()
            stream.flush()
    finally:
        if packed:
            with suppress(OSError):
                packed.close()


class _TextStream:
    """Writes UTF-8 to a stream of text, such as a StringIO, or the output of a cell of a notebook.

    Raises UnicodeDecodeError, a ValueError, for other bytes, such as Parquet.
    """

    def __init__(self, stream: TextIO) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._stream, self.flush = stream, stream.flush

    def write(self, data: bytes | memoryview, /) -> int:
        self._stream.write(self._decoder.decode(data))
        return len(data)


class _RawStream:
    """Writes all of what it is given to a raw stream, which takes a part of it at times.

    Standard output is one with `python -u` or PYTHONUNBUFFERED, as in many containers.
    """

    def __init__(self, stream: RawIOBase) -> None:
        self._stream, self.flush = stream, stream.flush

    def write(self, data: bytes | memoryview, /) -> int:
        left = memoryview(data)
        while left:
            count = self._stream.write(left)
            if count is None:  # it does not wait, and its reader is slow
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            left = left[count:]
        return len(data)


class _ErrorTranslator:
    """Writes to a stream and raises its errors as OutputError. Other errors in the block are not translated."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self._name, self._stream = name, stream

    def write(self, data: bytes | memoryview, /) -> int:
        with _output_errors(self._name):
            return self._stream.write(data)

    def flush(self) -> None:
        with _output_errors(self._name):
            self._stream.flush()


@contextmanager
def _output_errors(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        if name == _STDOUT_NAME:  # Python would flush again at exit and complain a second time
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"{name} was closed before all rows were written", file=name) from error
    except (OSError, ValueError) as error:  # ValueError: a name with NUL
        raise OutputError(f"{name} can't be written: {getattr(error, 'strerror', None) or error}", file=name) from error


def appears_whole(file: str) -> bool:
    """True if `open_output` renames the file at the end. Other outputs are read while they are written."""
    return file != STDOUT and not _is_device(file)


def _is_device(file: str) -> bool:
    """True for a device, a pipe or a socket, which a rename would replace with a file."""
    try:
        mode = Path(file).stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
