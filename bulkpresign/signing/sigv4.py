"""AWS Signature Version 4 in the query of a url, for many keys at once.

Source: docs "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)". The urls are byte for byte the
same as botocore's. Everything that does not depend on the key is computed once per batch: timestamp, scope, signing
key, query, the head and tail of the canonical request, and both SHA-256 states of the HMAC. For each key, one digest,
two copied states and one string are left.
"""

import hashlib
from collections.abc import Iterable, KeysView, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import repeat
from typing import Protocol
from urllib.parse import quote

from bulkpresign.errors import ParameterError
from bulkpresign.model import HEADER_NAME
from bulkpresign.signing.endpoint import Endpoint

#: Bytes that are not quoted in a url (docs: "UriEncode()"), and the NUL that separates texts.
_PLAIN = b"\0ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
_PERCENT_SIGN = ord("%")
_RESERVED = frozenset(
    f"x-amz-{name}"
    for name in ("algorithm", "credential", "date", "expires", "signedheaders", "security-token", "signature")
)
_BLOCK_SIZE = 64

#: Settings that differ between keys, by name: one value per key.
Columns = Mapping[str, Sequence[str]]
_NO_COLUMNS: Columns = {}


class SigningCredentials(Protocol):
    """Credentials as far as signing needs them: `aws.Credentials`, or the keys that a worker process is given."""

    @property
    def access_key(self) -> str:
        """The id of the access key."""

    @property
    def token(self) -> str | None:
        """The session token."""

    def signing_key(self, scope: str, /) -> bytes:
        """The key that signs in a scope, such as `20261124/eu-west-1/s3`."""


class Signer:
    """Signs links for many keys of one bucket, at one time, with the same method, headers and query.

    `headers` are signed and must be sent with the link; `query` holds parameters of the operation, such as
    `response-content-type`. `expires_in` is in seconds.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: SigningCredentials,
        method: str,
        *,
        now: datetime,
        expires_in: int,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> None:
        timestamp = f"{now:%Y%m%dT%H%M%SZ}"
        scope = endpoint.scope(now)
        self._headers = {**(headers or {}), "host": endpoint.host}
        self._query = dict(query or {})
        self._reading = endpoint.reading if method in {"GET", "HEAD"} else {}
        canonical_headers(self._headers)
        _check_parameters(self._query)
        self._auth = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{credentials.access_key}/{scope}/aws4_request",
            "X-Amz-Date": timestamp,
            "X-Amz-Expires": str(expires_in),
        }
        self._auth_names = endpoint.auth_names
        self._token = {} if credentials.token is None else {"X-Amz-Security-Token": credentials.token}
        self._url_head = endpoint.origin + endpoint.base_path
        self._head = f"{method}\n{endpoint.base_path}"
        self._templates: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[str, str]] = {}
        self._inner, self._outer = _hmac_states(credentials.signing_key(scope))
        self._inner.update(f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}/aws4_request\n".encode())

    def urls(self, keys: Sequence[str], query: Columns = _NO_COLUMNS, headers: Columns = _NO_COLUMNS) -> list[str]:
        """One url per key, in order.

        `query` and `headers` hold settings that differ between keys: by name, one value per key. In the url they come
        before the signer's parameters, in the order of botocore's urls.
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
        """The text after the key, in the canonical request and in the url: one for all keys, or one per key."""
        columns = [_quoted_column(*column) for column in query.items()]
        columns += [_canonical_column(*column) for column in headers.items()]
        names = tuple(query), tuple(headers)
        if names not in self._templates:
            self._templates[names] = self._template(query.keys(), headers.keys())
        canonical, url = self._templates[names]
        return _filled(canonical, columns), _filled(url, columns)

    def _template(self, query: KeysView[str], headers: KeysView[str]) -> tuple[str, str]:
        """The text after the key, in the canonical request and in the url, for columns with these names.

        A slot for a value that differs is the number of its column between NULs, which no value contains.
        """
        slots = [f"\0{number}\0" for number in range(len(query) + len(headers))]
        if twice := query & self._query.keys():
            raise ParameterError(f"query parameter {min(twice)} is given twice: for one object, and for all of them")
        own = {**self._reading, **dict(zip(query, slots, strict=False)), **self._query}
        names, lines = _canonical({**self._headers, **dict(zip(headers, slots[len(query) :], strict=True))})
        auth = self._auth | {"X-Amz-SignedHeaders": names}
        auth = {name: auth[name] for name in self._auth_names} | self._token
        # Quoted, then sorted by name and value. In the url, botocore puts the parameters of the operation first.
        canonical = "&".join(f"{name}={value}" for name, value in sorted(_quoted(auth | own)))
        url = "&".join(f"{name}={value}" for name, value in _quoted(own | auth))
        return f"\n{canonical}\n{lines}\n\n{names}\nUNSIGNED-PAYLOAD", f"?{url}&X-Amz-Signature="


def canonical_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    """The names of the signed headers, and their canonical lines. Raises ParameterError for an invalid header."""
    for name, value in headers.items():
        _check_header(name, value)
    return _canonical(headers)


def _check_header(name: str, value: str) -> None:
    if not HEADER_NAME.match(name):
        raise ParameterError(f"{name!r} is not a valid header name")
    if not _is_text(value) or "\r" in value or "\n" in value:
        raise ParameterError(f"header {name}: the value must be one line of text")


def _canonical(headers: Mapping[str, str]) -> tuple[str, str]:
    values = sorted((name.lower(), " ".join(value.split())) for name, value in headers.items())
    names = [name for name, _ in values]
    if len(set(names)) < len(names):
        raise ParameterError(f"a header is given twice: {', '.join(names)}")
    return ";".join(names), "\n".join(f"{name}:{value}" for name, value in values)


def quote_keys(keys: Sequence[str]) -> Sequence[str]:
    """Keys quoted for a url's path, except `/`; nothing is normalised. No key may contain NUL."""
    return _quote_all(keys, _PLAIN + b"/")


def _quote_all(texts: Sequence[str], plain: bytes) -> Sequence[str]:
    """Each text with all bytes quoted except the `plain` ones.

    The texts are joined, and each byte value that needs quoting is replaced in the whole string at once. Most keys need
    no quoting, and the others cost one replacement per byte value, not per character.
    """
    joined = "\0".join(texts).encode()
    unsafe = set(joined.translate(None, plain))
    if not unsafe:
        return texts
    for byte in sorted(unsafe, key=lambda byte: byte != _PERCENT_SIGN):
        joined = joined.replace(bytes((byte,)), b"%%%02X" % byte)
    return joined.decode().split("\0")


def _filled(template: str, columns: Sequence[Sequence[str]]) -> Iterable[str]:
    """The template once per key, each slot filled from its column. Without columns, the same text without end."""
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
    """Raises ParameterError for an invalid parameter, and for one that the signature adds itself."""
    for name, value in query.items():
        if name.lower() in _RESERVED:
            raise ParameterError(f"query parameter {name} is reserved for the signature")
        if not (name and _is_text(name) and _is_text(value)):
            raise ParameterError(f"query parameter {name!r}: name and value must be text")


def _quoted(query: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(_quoted_text(name, ""), _quoted_text(value, "\0")) for name, value in query.items()]


@lru_cache(maxsize=256)  # the names are few, and most values are those of the link before
def _quoted_text(text: str, safe: str) -> str:
    return quote(text, safe=safe)


def _is_text(value: object) -> bool:
    """True for a string that has no NUL and no lone surrogates."""
    try:
        return isinstance(value, str) and b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False


def _hmac_states(key: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """The two SHA-256 states of HMAC-SHA256 after the padded key (RFC 2104)."""
    block = key.ljust(_BLOCK_SIZE, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
    return inner, outer
