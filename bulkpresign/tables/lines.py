"""Reads lists in plain text: one key, `s3://` uri or link a line."""

import re
from collections.abc import Iterator

from bulkpresign.errors import ManifestError
from bulkpresign.tables.files import line_blocks, not_empty
from bulkpresign.tables.rows import Rows, batched, mapping_of_text, rows_of_mappings
from bulkpresign.tables.tool_lists import tool_list_problem

_DATE = r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d"
#: A line of `aws s3 ls`, `s5cmd ls`, `mc ls`, `gsutil ls -l`, `rclone ls` or `rclone lsl`.
_LISTED = re.compile(rf"\s+PRE \S|{_DATE} +\d+ +\S|\[{_DATE}|\s+\d+ +\S", re.ASCII)
#: A line of md5sum and its like, or of `openssl dgst`.
_SUMMED = re.compile(r"[0-9A-Fa-f]{32,128} [ *]\S|[A-Z0-9-]+ ?\(.+\) ?= [0-9a-f]{32,128}\Z", re.ASCII)
#: An object as other tools name it. In upper case, the schemes that we know as well.
_OTHER_URI = re.compile(r"(?:gs|az|abfss?|wasbs?|s3[an]|b2|oss|cos|swift|file|ftp)://|arn:aws|S3://|HTTPS?://")
#: A url with a signature, of S3 or others.
SIGNED_URL = re.compile(r"https?://\S+[?&](?:X-(?:Amz|Goog)-Signature|Signature|sig)=")
_KEYS_ALONE = "a text list has keys, s3:// uris or links alone, one a line"


def read_text(file: str) -> Iterator[Rows]:
    """The rows of a text in batches, without blank lines.

    Raises ManifestError for a list with links that has other lines, too, for a list that `convert` wrote for another
    tool, and for output of other tools, which would all be valid keys. Keys that look like that can be in a table of
    any other format.
    """
    first: tuple[int, bool] | None = None
    for lines, texts in batched((number, text, len(text)) for number, text in enumerate(_lines(file), 1) if text):
        mappings = [mapping_of_text(file, line, text) for line, text in zip(lines, texts, strict=True)]
        if first is None:
            first = lines[0], "url" in mappings[0]
            if problem := tool_list_problem("\n".join(texts[:2])):
                raise ManifestError(problem, file=file, line=lines[0])
            _check_first(file, lines[0], texts[0])
        rows = rows_of_mappings(file, mappings, lines)
        _check_kind(rows, *first)
        yield rows


def _lines(file: str) -> Iterator[str]:
    for block in not_empty(file, line_blocks(file)):
        for line in block.removesuffix("\n").split("\n"):
            yield line.removesuffix("\r")


def _check_first(file: str, line: int, text: str) -> None:
    """Raises ManifestError if the first line is one of another tool. The message never has the text of a link."""
    if text.startswith(("https://", "http://")):
        return
    if SIGNED_URL.search(text):
        problem = f"there is something before the link: {_KEYS_ALONE}"
    elif _LISTED.match(text):
        problem = f"{text[:80]!r} is a line of a listing: {_KEYS_ALONE}; s3://bucket/prefix/ as SOURCE needs no list"
    elif _SUMMED.match(text):
        problem = f"{text[:80]!r} is a line of checksums: {_KEYS_ALONE}; checksums are a column of a .csv"
    elif "\t" in text:
        problem = f"{text[:80]!r} has tabs: {_KEYS_ALONE}; aws --output json lists keys one by one"
    elif _OTHER_URI.match(text):
        problem = f"{text[:80]!r} is no s3:// uri and no link; {_KEYS_ALONE}"
    else:
        return
    raise ManifestError(problem, file=file, line=line)


def _check_kind(rows: Rows, first: int, are_links: bool) -> None:
    """Raises ManifestError if only some of the lines are links. Line `first` is one if `are_links`."""
    if ("url" in rows.columns, "key" in rows.columns) == (are_links, not are_links):
        return
    row = next(row for row, link in enumerate(rows.column("url") or [""] * len(rows.lines)) if bool(link) != are_links)
    if are_links:
        problem = f"not a link, as line {first} is: {_KEYS_ALONE}; join a link that was broken into two lines"
    else:
        problem = f"a link, and line {first} is none: {_KEYS_ALONE}"
    raise rows.error(row, problem)
