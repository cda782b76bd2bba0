"""Checks the headers that are given for links, before anything is read or signed."""

from binascii import Error, a2b_base64
from collections.abc import Mapping

from bulkpresign.errors import ParameterError

#: Headers of a connection, and not of an object. A length is not among them: signed, it lets no other file through.
_OF_CONNECTIONS = frozenset({"connection", "expect", "keep-alive", "te", "trailer", "upgrade"})
_MD5_BYTES = 16


def check_headers(headers: Mapping[str, str] | None) -> None:
    """Raises ParameterError for a header with which no link works."""
    for name, value in (headers or {}).items():
        if isinstance(name, str) and isinstance(value, str) and (problem := _problem(name.lower(), value)):
            raise ParameterError(f"header {name}: {problem}")


def _problem(name: str, value: str) -> str | None:
    if name == "host":
        return "the host of a link is that of its server: leave it out"
    if name == "transfer-encoding":
        return "S3 takes no upload without its length: leave it out"
    if name == "content-md5" and not _is_md5(value):
        return f"the md5 of the file is expected, {_MD5_BYTES} bytes in base64"
    if name in _OF_CONNECTIONS:
        return "clients and proxies set it themselves, so that its signature does not hold: leave it out"
    return None


def _is_md5(value: str) -> bool:
    try:
        return len(a2b_base64(value.encode("ascii"), strict_mode=True)) == _MD5_BYTES
    except (Error, ValueError):
        return False
