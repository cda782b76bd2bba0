"""The formats in which the tools of partners take links. They are written, and never read back.

Each holds the url of a link, the name of its file, and what more the tool takes. The names are those of files: whoever
writes links checks them before.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

from bulkpresign.checksums import expected_digest
from bulkpresign.model import Link, Method, ObjectRef

#: The types of checksums that aria2 compares, by our names for them.
_ARIA2_CHECKSUMS = {"md5": "md5", "sha1": "sha-1", "sha256": "sha-256"}
_ARIA2_STATE = ".aria2"
#: The characters that curl reads from a config file by an escape.
_CURL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\v": r"\v"})
#: Names that curl takes for standard input or output.
_CURL_STREAMS = frozenset({"-", "."})


class LinkList(Protocol):
    """A format that holds links one after another."""

    #: The methods of the links that it holds.
    methods: ClassVar[frozenset[Method]]

    def problem(self, link: Link) -> str | None:
        """The reason why a link can't be written, or None."""
        ...

    def text_of(self, links: Sequence[Link]) -> str:
        """The text of some links, which follow those before."""
        ...


class CurlConfig:
    """A config file for `curl --config`: the files of GET links are written, those of PUT links are sent.

    Names are those below the current folder. Options stand for each of the parts between `next`, which have the links
    with the same method and headers. curl takes those of its command line for the first of them alone.
    """

    methods: ClassVar[frozenset[Method]] = frozenset({"GET", "PUT"})

    def __init__(self) -> None:
        self._method = ""
        self._headers: Mapping[str, str] = {}

    def problem(self, link: Link) -> str | None:  # noqa: ARG002 - it takes every name and every header
        """None: curl takes every name."""
        return None

    def text_of(self, links: Sequence[Link]) -> str:
        """The text of some links, which follow those before."""
        return "".join(f"{line}\n" for link in links for line in self._lines(link))

    def _lines(self, link: Link) -> Iterator[str]:
        if (link.method, link.headers) != (self._method, self._headers):
            if self._method:
                yield "next"
            self._method, self._headers = link.method, link.headers
            yield from ("fail", "globoff", "create-dirs")
            yield from (f"header = {_curl_quoted(_curl_header(*each))}" for each in link.headers.items())
        path = link.object.file_path
        name = _curl_quoted(f"./{path}" if path in _CURL_STREAMS else path)
        yield f"url = {_curl_quoted(link.url)}"
        yield f"{'output' if link.method == 'GET' else 'upload-file'} = {name}"


def _curl_quoted(text: str) -> str:
    return f'"{text.translate(_CURL_ESCAPES)}"'


def _curl_header(name: str, value: str) -> str:
    """A header as curl takes it: one without a value ends in `;`, else it would be left out."""
    return f"{name}: {value}" if value else f"{name};"


class Aria2List:
    """A list for `aria2c --input-file`. A file that is there is continued, or compared where there is a checksum."""

    methods: ClassVar[frozenset[Method]] = frozenset({"GET"})

    def problem(self, link: Link) -> str | None:
        """The reason why aria2 can't store a file under its name, or None."""
        path = link.object.file_path
        if "\n" in path or "\r" in path:
            return "aria2 takes no line ends in names"
        if path != path.strip(" \t"):
            return "aria2 drops white space at the ends of names"
        if path.endswith(_ARIA2_STATE):
            return f"aria2 keeps the state of a download under such a name, with {_ARIA2_STATE}"
        return None

    def text_of(self, links: Sequence[Link]) -> str:
        """The text of some links, which follow those before."""
        return "".join(f"{line}\n" for link in links for line in self._lines(link))

    def _lines(self, link: Link) -> Iterator[str]:
        yield link.url
        yield f"  out={link.object.file_path}"
        yield from ("  continue=true", "  auto-file-renaming=false")
        yield from (f"  header={name}: {value}" for name, value in link.headers.items())
        if (checksum := _aria2_checksum(link.object)) is not None:
            yield f"  checksum={checksum}"


def _aria2_checksum(ref: ObjectRef) -> str | None:
    """The checksum of a row as aria2 takes it. An etag may be no md5, as under a key of KMS, and is left out."""
    expected = expected_digest(ref)
    name = _ARIA2_CHECKSUMS.get(expected.algorithm or "")
    if expected.checksum is None or expected.parts or name is None or expected.digest is None:
        return None
    return f"{name}={expected.digest.hex()}"


class RcloneList:
    """A list for `rclone copyurl --urls`: CSV with url and name."""

    methods: ClassVar[frozenset[Method]] = frozenset({"GET"})

    def problem(self, link: Link) -> str | None:
        """The reason why rclone can't use a link, or None."""
        return f"rclone sends no headers, and it needs {', '.join(link.headers)}" if link.headers else None

    def text_of(self, links: Sequence[Link]) -> str:
        """The text of some links, which follow those before."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows((link.url, link.object.file_path) for link in links)
        return text.getvalue()


#: The formats by their names, which are also the extensions of files.
LINK_LISTS: dict[str, type[LinkList]] = {"curl": CurlConfig, "aria2": Aria2List, "rclone": RcloneList}
