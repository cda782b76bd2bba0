"""Checks the headers that are given for links, before anything is read or signed."""

from collections.abc import Mapping

from bulkpresign.checksums import checksum_problem
from bulkpresign.errors import ParameterError

#: Headers of a connection, and not of an object. A length is not among them: signed, it lets no other file through.
_OF_CONNECTIONS = frozenset({"connection", "expect", "keep-alive", "te", "trailer", "upgrade"})


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
        return "the md5 of the file is expected, 16 bytes in base64"
    if name in _OF_CONNECTIONS:
        return "clients and proxies set it themselves, so that its signature does not hold: leave it out"
    return None


def _is_md5(value: str) -> bool:
    """True for the md5 of a whole object: a value of parts ends in `-N`, which base64 never does."""
    return "-" not in value and checksum_problem(f"md5:{value}") is None
