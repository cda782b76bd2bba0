"""AWS Signature Version 4 in the query of a url, for many keys at once.

Source: docs "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"; botocore is the reference for
every byte. All that does not depend on the key is computed once per batch: timestamp, scope, signing key, the query,
the head and tail of the canonical request, and both SHA-256 states of the HMAC. What is left per key is one digest, two
copied states and one string.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from urllib.parse import quote

from bulkpresign.aws import Credentials
from bulkpresign.errors import ParameterError
from bulkpresign.model import HEADER_NAME
from bulkpresign.signing.endpoint import Endpoint

#: What stands in a url as it is (docs: "UriEncode()"), and the NUL that parts one text from the next.
_PLAIN = b"\0ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
_PERCENT_SIGN = ord("%")
_RESERVED = frozenset(
    f"x-amz-{name}"
    for name in ("algorithm", "credential", "date", "expires", "signedheaders", "security-token", "signature")
)
_BLOCK_SIZE = 64

#: What differs from key to key, by name: one value a key.
Columns = Mapping[str, Sequence[str]]
_SAME: Columns = {}


class Signer:
    """Signs links of one kind (bucket, method, headers, query) for many keys, at one instant.

    `headers` are signed and must be sent with the link; `query` holds the operation's own parameters, such as
    `response-content-type`. `expires_in` in seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        method: str,
        *,
        now: datetime,
        expires_in: int,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        timestamp = f"{now:%Y%m%dT%H%M%SZ}"
        scope = f"{timestamp[:8]}/{endpoint.region}/{endpoint.service}/aws4_request"
        self._headers = {**(headers or {}), "host": endpoint.host}
        self._query = dict(query or {})
        canonical_headers(self._headers)
        _check_parameters(self._query)
        self._auth = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{credentials.access_key}/{scope}",
            "X-Amz-Date": timestamp,
            "X-Amz-Expires": str(expires_in),
        }
        self._auth_names = endpoint.auth_names
        self._token = {} if credentials.token is None else {"X-Amz-Security-Token": credentials.token}
        self._url_head = endpoint.origin + endpoint.base_path
        self._head = f"{method}\n{endpoint.base_path}"
        secret = signing_key(credentials.secret_key, timestamp[:8], endpoint.region, endpoint.service)
        self._inner, self._outer = _hmac_states(secret)
        self._inner.update(f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n".encode())

    def urls(self, keys: Sequence[str], query: Columns = _SAME, headers: Columns = _SAME) -> list[str]:
        """One url a key, in order.

        `query` and `headers` hold what differs from key to key: by name, one value a key. They go before the signer's
        own parameters in the url, as the version goes in botocore's.
        """
        tails, url_tails = self._tails(query, headers)
        head, url_head = self._head, self._url_head
        sha256, inner_state, outer_state = hashlib.sha256, self._inner.copy, self._outer.copy
        urls = []
        for key, tail, url_tail in zip(quote_keys(keys), tails, url_tails, strict=False):
            inner = inner_state()
            inner.update(sha256(f"{head}{key}{tail}".encode()).hexdigest().encode())
            outer = outer_state()
            outer.update(inner.digest())
            urls.append(f"{url_head}{key}{url_tail}{outer.hexdigest()}")
        return urls

    def _tails(self, query: Columns, headers: Columns) -> tuple[Iterable[str], Iterable[str]]:
        """What follows the key, in the canonical request and in the url: the same for all, or one a key.

        Made once, with a slot where a value differs: its column's number between NULs, which no value holds.
        """
        columns = [_quoted_column(*column) for column in query.items()]
        columns += [_canonical_column(*column) for column in headers.items()]
        slots = [f"\0{number}\0" for number in range(len(columns))]
        if twice := query.keys() & self._query.keys():
            raise ParameterError(f"query parameter {min(twice)} is given twice: by an object, and for all of them")
        own = {**dict(zip(query, slots, strict=False)), **self._query}
        names, lines = _canonical({**self._headers, **dict(zip(headers, slots[len(query) :], strict=True))})
        auth = self._auth | {"X-Amz-SignedHeaders": names}
        auth = {name: auth[name] for name in self._auth_names} | self._token
        # Sorted by name, then by value, each of them quoted; in the url, botocore puts the operation's own first.
        canonical = "&".join(f"{name}={value}" for name, value in sorted(_quoted(auth | own)))
        url = "&".join(f"{name}={value}" for name, value in _quoted(own | auth))
        return (
            _filled(f"\n{canonical}\n{lines}\n\n{names}\nUNSIGNED-PAYLOAD", columns),
            _filled(f"?{url}&X-Amz-Signature=", columns),
        )


def canonical_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    """The names of the signed headers, and their canonical lines. Raises ParameterError for a header that can't be."""
    for name, value in headers.items():
        _check_header(name, value)
    return _canonical(headers)


def _check_header(name: str, value: str) -> None:
    if not HEADER_NAME.match(name):
        raise ParameterError(f"{name!r} can't be a header's name")
    if not _is_text(value) or "\r" in value or "\n" in value:
        raise ParameterError(f"header {name}: a value is one line of text")


def _canonical(headers: Mapping[str, str]) -> tuple[str, str]:
    values = sorted((name.lower(), " ".join(value.split())) for name, value in headers.items())
    names = [name for name, _ in values]
    if len(set(names)) < len(names):
        raise ParameterError(f"a header is given twice: {', '.join(names)}")
    return ";".join(names), "\n".join(f"{name}:{value}" for name, value in values)


def signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """The day's key for one region and service (docs: "Deriving the signing key")."""
    key = b"AWS4" + secret_key.encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def quote_keys(keys: Sequence[str]) -> Sequence[str]:
    """Keys as they stand in a url's path: quoted once, `/` kept, nothing normalised. None of them holds a NUL."""
    return _quote_all(keys, _PLAIN + b"/")


def _quote_all(texts: Sequence[str], plain: bytes) -> Sequence[str]:
    """Each text with all bytes but the `plain` ones quoted.

    The whole batch is one string, in which each byte that needs it is replaced once: most keys need no quoting, and
    those that do pay by the kind of byte, not by the character.
    """
    joined = "\0".join(texts).encode()
    unsafe = set(joined.translate(None, plain))
    if not unsafe:
        return texts
    for byte in sorted(unsafe, key=lambda byte: byte != _PERCENT_SIGN):
        joined = joined.replace(bytes((byte,)), b"%%%02X" % byte)
    return joined.decode().split("\0")


def _filled(template: str, columns: Sequence[Sequence[str]]) -> Iterable[str]:
    """The template once a key, each slot filled from its column; without columns the same for ever."""
    pieces = template.split("\0")
    if len(pieces) == 1:
        return repeat(template)
    return map("".join, zip(*(columns[int(it)] if n % 2 else repeat(it) for n, it in enumerate(pieces)), strict=False))


def _quoted_column(name: str, values: Sequence[str]) -> Sequence[str]:
    _check_parameters({name: "".join(values)})
    return _quote_all(values, _PLAIN)


def _canonical_column(name: str, values: Sequence[str]) -> Sequence[str]:
    _check_header(name, "".join(values))
    return [" ".join(value.split()) for value in values]


def _check_parameters(query: Mapping[str, str]) -> None:
    """Raises ParameterError for a parameter of the operation that can't be, or that the signature brings."""
    for name, value in query.items():
        if name.lower() in _RESERVED:
            raise ParameterError(f"query parameter {name} is the signature's own")
        if not (name and _is_text(name) and _is_text(value)):
            raise ParameterError(f"query parameter {name!r}: name and value are text")


def _quoted(query: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(quote(name, safe=""), quote(value, safe="\0")) for name, value in query.items()]


def _is_text(value: str) -> bool:
    """True for a string without NUL and lone surrogates."""
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _hmac_states(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """HMAC-SHA256 as two SHA-256 states that have read the padded key (RFC 2104)."""
    block = key.ljust(_BLOCK_SIZE, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
    return inner, outer
