"""Objects that a server decompresses on their way, which then have other bytes than it stores. Pure functions.

Google Cloud Storage does that with an object stored with `Content-Encoding: gzip`, unless a request accepts gzip. Its
response has neither that header nor a length, ignores a range, and has the etag of the bytes that are stored.
To accept gzip from the start would let other servers, and proxies before them, compress what is stored without it.
Source: docs "Transcoding of gzip-compressed files" of Google Cloud Storage.
"""

from collections.abc import Mapping

_STORED = "x-goog-stored-content-encoding"
#: The header of a request for the bytes as they are stored.
ACCEPT_GZIP = {"Accept-Encoding": "gzip"}


def is_decompressed(headers: Mapping[str, str]) -> bool:
    """True for the headers of a response with other bytes than those that are stored. Names are in lower case."""
    return headers.get(_STORED) == "gzip" and "content-encoding" not in headers
