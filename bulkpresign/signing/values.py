"""Checks the values of options and of their columns. Values that only S3 can check are passed on."""

import re
from base64 import b64encode
from binascii import Error, a2b_base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from bulkpresign.aws import AUTO
from bulkpresign.errors import ParameterError
from bulkpresign.model import HEADER_NAME
from bulkpresign.text import counted

#: The column with the region of one object's bucket, for links of any method.
REGION = "region"
CUSTOMER_KEY_BYTES = 32

_TAGS = re.compile(r"[^=&\s]+=[^=&\s]*(?:&[^=&\s]+=[^=&\s]*)*\Z")
_REGION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
_LINE_END = re.compile(r"[\x00\r\n]")


def option_problem(name: str, value: Any) -> str | None:
    """Validation error for the value of an option, or None. A cell is text; metadata may be a mapping."""
    if not isinstance(value, str) and name != "metadata":
        return f"text is expected, not {type(value).__name__}"
    return _PROBLEMS.get(name, _line_problem)(value)


def region_problem(region: str) -> str | None:
    """Validation error for a region, or None. Any label of a host name is valid: servers have their own names."""
    if region == AUTO:
        return f"{AUTO} is a value for the whole run: leave the cell of a row empty"
    return None if _REGION.match(region) else f"{region[:80]!r} is not a region; example: eu-west-1"


def customer_key(content: bytes) -> str:
    """A customer's key in base64. `content` is its 32 bytes, or their base64. Raises ParameterError."""
    if len(content) == CUSTOMER_KEY_BYTES:
        return b64encode(content).decode()
    text = content.strip().decode("ascii", "replace")
    if _decoded(text) is None:
        raise ParameterError(f"sse-customer-key: {CUSTOMER_KEY_BYTES} bytes, or their base64, are expected")
    if problem := _customer_key_problem(text):
        raise ParameterError(f"sse-customer-key: {problem}")
    return text


def metadata_of(value: Any) -> Mapping[str, str]:
    """Metadata by name. `value` is an option's mapping, or a cell with a JSON object."""
    return msgspec.json.decode(value, type=dict[str, str]) if isinstance(value, str) else value


def _line_problem(value: str) -> str | None:
    try:
        plain = _LINE_END.search(value) is None and value.encode() != b""
    except UnicodeEncodeError:
        plain = False
    return None if plain else "one line of text is expected"


def _metadata_problem(value: Any) -> str | None:
    try:
        metadata = msgspec.convert(metadata_of(value), dict[str, str])
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return "a JSON object with text values is expected"
    names = [name.lower() for name in metadata]
    return next(_entry_problems(metadata), None) or ("a name is given twice" if len(set(names)) < len(names) else None)


def _entry_problems(metadata: Mapping[str, str]) -> Iterator[str]:
    for name, value in metadata.items():
        if not HEADER_NAME.match(name):
            yield f"{name[:80]!r} is not a valid name: it becomes part of a header's name"
        elif not (value.isascii() and value.isprintable()):
            yield f"{name}: the value must be one line of ASCII"


def _customer_key_problem(value: str) -> str | None:
    key = _decoded(value)
    if key is None:
        return f"{CUSTOMER_KEY_BYTES} bytes in base64 are expected"
    return None if len(key) == CUSTOMER_KEY_BYTES else f"it has {counted(len(key), 'byte')}, not {CUSTOMER_KEY_BYTES}"


def _decoded(text: str) -> bytes | None:
    """The bytes of a text in base64, None for another text."""
    try:
        return a2b_base64(text.encode("ascii"), strict_mode=True)
    except (Error, ValueError):
        return None


def _only(word: str) -> Callable[[str], str | None]:
    return lambda value: None if value == word else f"{value[:80]!r} is not {word}"


def _tags_problem(value: str) -> str | None:
    return None if _TAGS.match(value) and value.isprintable() else f"{value[:80]!r} is not of the form k=v&k2=v2"


_PROBLEMS: dict[str, Callable[[Any], str | None]] = {
    REGION: region_problem,
    "metadata": _metadata_problem,
    "tagging": _tags_problem,
    "request_payer": _only("requester"),
    "checksum_mode": _only("ENABLED"),
    "if_none_match": _only("*"),
    "sse_customer_key": _customer_key_problem,
}
