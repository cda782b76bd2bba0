"""Checks the headers that are given for links, before anything is read or signed."""

from collections.abc import Mapping

from bulkpresign.errors import ParameterError


def check_headers(headers: Mapping[str, str] | None) -> None:
    """Raises ParameterError for a header with which no link works."""
    for name in headers or ():
        if isinstance(name, str) and name.lower() == "host":
            raise ParameterError(f"header {name}: the host of a link is that of its server: leave it out")
