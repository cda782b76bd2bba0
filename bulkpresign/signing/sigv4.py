"""AWS Signature Version 4 in the query of a url, for many keys at once.

Source: docs "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)"; botocore is the reference for
every byte. All that does not depend on the key is computed once per batch: timestamp, scope, signing key, the query,
the head and tail of the canonical request, and both SHA-256 states of the HMAC. What is left per key is one digest, two
copied states and one string.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import repeat
from urllib.parse import quote

from bulkpresign.aws import Credentials
from bulkpresign.errors import ParameterError
from bulkpresign.signing.endpoint import Endpoint

#: What stands in a path as it is (docs: "UriEncode()"), and the NUL that parts keys from each other.
_PLAIN = b"\0ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/"
_PERCENT_SIGN = ord("%")
_RESERVED = frozenset(
    f"x-amz-{name}"
    for name in ("algorithm", "credential", "date", "expires", "signedheaders", "security-token", "signature")
)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_BLOCK_SIZE = 64


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
        names, lines = canonical_headers({**(headers or {}), "host": endpoint.host})
        auth = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{credentials.access_key}/{scope}",
            "X-Amz-Date": timestamp,
            "X-Amz-Expires": str(expires_in),
            "X-Amz-SignedHeaders": names,
        }
        self._auth = [(name, auth[name]) for name in endpoint.auth_names]
        if credentials.token is not None:
            self._auth.append(("X-Amz-Security-Token", credentials.token))
        self._query = _own_parameters(query or {})
        self._url_head = endpoint.origin + endpoint.base_path
        self._head = f"{method}\n{endpoint.base_path}"
        self._canonical_tail = f"\n{lines}\n\n{names}\nUNSIGNED-PAYLOAD"
        secret = signing_key(credentials.secret_key, timestamp[:8], endpoint.region, endpoint.service)
        self._inner, self._outer = _hmac_states(secret)
        self._inner.update(f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n".encode())

    def urls(self, keys: Sequence[str], version_ids: Iterable[str | None] | None = None) -> list[str]:
        """One url a key, in order; for one version of the object where `version_ids` has one."""
        if version_ids is None:
            return self._urls(quote_keys(keys), (repeat(self._tail(())), repeat(self._url_tail(()))))
        quoted = [_quoted_version(version_id) if version_id else None for version_id in version_ids]
        return self._urls(quote_keys(keys), self._tails("versionId", quoted))

    def part_urls(self, key: str, part_numbers: Iterable[int]) -> list[str]:
        """One url a part of one key's upload, in order; the upload's id is in `query`."""
        return self._urls(repeat(*quote_keys([key])), self._tails("partNumber", map(str, part_numbers)))

    def _urls(self, quoted_keys: Iterable[str], all_tails: tuple[Iterable[str], Iterable[str]]) -> list[str]:
        tails, url_tails = all_tails
        head, url_head = self._head, self._url_head
        sha256, inner_state, outer_state = hashlib.sha256, self._inner.copy, self._outer.copy
        urls = []
        for key, tail, url_tail in zip(quoted_keys, tails, url_tails, strict=False):
            inner = inner_state()
            inner.update(sha256(f"{head}{key}{tail}".encode()).hexdigest().encode())
            outer = outer_state()
            outer.update(inner.digest())
            urls.append(f"{url_head}{key}{url_tail}{outer.hexdigest()}")
        return urls

    def _tails(self, name: str, values: Iterable[str | None]) -> tuple[Iterable[str], Iterable[str]]:
        """What follows the key, in the canonical request and in the url, for each value (quoted) of one parameter."""
        if any(other == name for other, _ in self._query):
            raise ParameterError(f"{name} is given twice: by what is signed, and by a query parameter")
        values = list(values)
        tail, url_tail = self._tail(()), self._url_tail(())
        # The first %00 is the value's place: no other parameter has one, and headers come later.
        before, _, after = self._tail([(name, "\0")]).partition("%00")
        url_before, _, url_after = self._url_tail([(name, "\0")]).partition("%00")
        return (
            [tail if value is None else before + value + after for value in values],
            [url_tail if value is None else url_before + value + url_after for value in values],
        )

    def _tail(self, more: Sequence[tuple[str, str]]) -> str:
        # Sorted by name, then by value, each of them quoted.
        query = "&".join(f"{name}={value}" for name, value in sorted(_quoted(*self._auth, *more, *self._query)))
        return f"\n{query}{self._canonical_tail}"

    def _url_tail(self, more: Sequence[tuple[str, str]]) -> str:
        # botocore puts the operation's own parameters first.
        query = "&".join(f"{name}={value}" for name, value in _quoted(*more, *self._query, *self._auth))
        return f"?{query}&X-Amz-Signature="


def canonical_headers(headers: Mapping[str, str]) -> tuple[str, str]:
    """The names of the signed headers, and their canonical lines. Raises ParameterError for a header that can't be."""
    for name, value in headers.items():
        if not _HEADER_NAME.match(name):
            raise ParameterError(f"{name!r} can't be a header's name")
        if not _is_text(value) or "\r" in value or "\n" in value:
            raise ParameterError(f"header {name}: a value is one line of text")
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
    """Keys as they stand in a url's path: quoted once, `/` kept, nothing normalised. None of them holds a NUL.

    The whole batch is one string, in which each byte that needs it is replaced once: most keys need no quoting, and
    those that do pay by the kind of byte, not by the character.
    """
    joined = "\0".join(keys).encode()
    unsafe = set(joined.translate(None, _PLAIN))
    if not unsafe:
        return keys
    for byte in sorted(unsafe, key=lambda byte: byte != _PERCENT_SIGN):
        joined = joined.replace(bytes((byte,)), b"%%%02X" % byte)
    return joined.decode().split("\0")


def _own_parameters(query: Mapping[str, str]) -> list[tuple[str, str]]:
    """The operation's own parameters. Raises ParameterError for one that can't be, or that the signature brings."""
    for name, value in query.items():
        if name.lower() in _RESERVED:
            raise ParameterError(f"query parameter {name} is the signature's own")
        if not (name and _is_text(name) and _is_text(value)):
            raise ParameterError(f"query parameter {name!r}: name and value are text")
    return list(query.items())


def _quoted(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    return [(quote(name, safe=""), quote(value, safe="")) for name, value in pairs]


def _quoted_version(version_id: str) -> str:
    if not _is_text(version_id):
        raise ParameterError(f"version id {version_id!r} is not text")
    return quote(version_id, safe="")


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
