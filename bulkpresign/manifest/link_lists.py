"""Lists of links in the formats of other tools. They are written, and never read back.

A list has the url of each link and the name of its file; if the tool takes them, headers and checksums, too. The names
must have been checked before: a list does not refuse one that leaves the folder.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from bulkpresign.checksums import expected_digest
from bulkpresign.model import Link, Method, ObjectRef

#: The types of checksums that aria2 compares, by our names for them.
_ARIA2_CHECKSUMS = {"md5": "md5", "sha1": "sha-1", "sha256": "sha-256"}
_ARIA2_STATE = ".aria2"
#: A torrent or a metalink that is downloaded is a file like any other, and no list of more to download. A file that is
#: there without a state of aria2 may be of another object: it is replaced.
_ARIA2_OPTIONS = ("allow-overwrite=true", "auto-file-renaming=false", "follow-torrent=false", "follow-metalink=false")
#: The options of each section: errors are no files, and urls and names are taken as they are.
_CURL_OPTIONS = ("fail", "globoff", "path-as-is", "create-dirs")
#: The characters that curl reads from a config file by an escape.
_CURL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\v": r"\v"})
#: Names that curl takes for standard input or output.
_CURL_STREAMS = frozenset({"-", "."})
#: Characters that rclone writes in another way: a carriage return, and its own mark of a character that it replaces.
_RCLONE_REWRITES = frozenset("\r\u201b")


class LinkList(Protocol):
    """A list of links for another tool."""

    #: The methods of the links that it holds.
    methods: ClassVar[frozenset[Method]]

    def problem(self, link: Link) -> str | None:
        """The reason why the tool can't use a link, or None."""
        ...

    def text_of(self, links: Sequence[Link]) -> str:
        """The text of some links, which follow those before."""
        ...


class CurlConfig:
    """A config file for `curl --config`: the files of GET links are written, those of PUT links are sent.

    Names are those below the current folder. The list has a section for each run of links with the same headers. curl
    takes the options of its command line for the first section alone.
    """

    methods: ClassVar[frozenset[Method]] = frozenset({"GET", "PUT"})

    def __init__(self) -> None:
        #: The method and the headers of the section that is open.
        self._section: tuple[str, Mapping[str, str]] | None = None

    def problem(self, _: Link) -> str | None:
        """Returns None: curl can use every link."""
        return None

    def text_of(self, links: Sequence[Link]) -> str:
        """The text of some links, which follow those before."""
        return "".join(f"{line}\n" for link in links for line in [*self._head(link), *_curl_lines(link)])

    def _head(self, link: Link) -> list[str]:
        """The lines that begin a section, none where the link belongs to the one that is open."""
        section = link.method, link.headers
        if section == self._section:
            return []
        end = [] if self._section is None else ["next"]
        self._section = section
        return [*end, *_CURL_OPTIONS, *(f"header = {_curl_quoted(_curl_header(*it))}" for it in link.headers.items())]


def _curl_lines(link: Link) -> list[str]:
    path = link.object.file_path
    name = f"./{path}" if path in _CURL_STREAMS else path
    option = "output" if link.method == "GET" else "upload-file"
    return [f"url = {_curl_quoted(link.url)}", f"{option} = {_curl_quoted(name)}"]


def _curl_quoted(text: str) -> str:
    return f'"{text.translate(_CURL_ESCAPES)}"'


def _curl_header(name: str, value: str) -> str:
    """A header as curl takes it: one without a value ends in `;`, else it would be left out."""
    return f"{name}: {value}" if value else f"{name};"


class Aria2List:
    """A list for `aria2c --input-file`. Downloads that aria2 did not finish are continued."""

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
        """The text of some links."""
        return "".join(f"{line}\n" for link in links for line in [link.url, *_aria2_options(link)])


def _aria2_options(link: Link) -> list[str]:
    checksum = _aria2_checksum(link.object)
    options = [
        f"out={link.object.file_path}",
        *_ARIA2_OPTIONS,
        *(f"header={name}: {value}" for name, value in link.headers.items()),
        *([] if checksum is None else [f"checksum={checksum}"]),
    ]
    return [f"  {option}" for option in options]


def _aria2_checksum(ref: ObjectRef) -> str | None:
    """The checksum of a row as aria2 takes it. An etag may be no md5, as under a key of KMS, and is left out."""
    expected = expected_digest(ref)
    name = _ARIA2_CHECKSUMS.get(expected.algorithm or "")
    if expected.checksum is None or expected.parts or name is None:
        return None
    return f"{name}={expected.digest.hex()}"


class RcloneList:
    """A list for `rclone copyurl --urls`: CSV with url and name."""

    methods: ClassVar[frozenset[Method]] = frozenset({"GET"})

    def problem(self, link: Link) -> str | None:
        """The reason why rclone can't use a link, or None."""
        if link.headers:
            return f"rclone sends no headers, and the link needs {', '.join(link.headers)}"
        if not _RCLONE_REWRITES.isdisjoint(link.object.file_path):
            return "rclone changes carriage returns, and the character U+201B, in names"
        return None

    def text_of(self, links: Sequence[Link]) -> str:
        """The text of some links."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows((link.url, link.object.file_path) for link in links)
        return text.getvalue()


#: The lists by the names of the tools, which are also the extensions of files.
LINK_LISTS: dict[str, type[LinkList]] = {"curl": CurlConfig, "aria2": Aria2List, "rclone": RcloneList}
