"""What a link carries beside its signature, so that signing it again keeps it.

Pure functions. Kept are the signed headers, and of the query the parameters that S3 has for objects. Another method
takes of them what fits it: GET and HEAD share theirs, a PUT has none of the response overrides, and so on.
"""

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import unquote_plus

from bulkpresign.model import Link
from bulkpresign.signing.options import CREATING, HEADERS, PAYER

#: How the parameters of a signature (SigV4, SigV2) begin in a query.
_OF_SIGNATURE = (
    *("X-Amz-Algorithm=", "X-Amz-Credential=", "X-Amz-Date=", "X-Amz-Expires=", "X-Amz-SignedHeaders="),
    *("X-Amz-Security-Token=", "X-Amz-Signature=", "AWSAccessKeyId=", "Signature=", "Expires="),
)
#: The same in lower case, for what another tool spells in another way.
_SIGNATURE_NAMES = frozenset(text.removesuffix("=").lower() for text in _OF_SIGNATURE)
#: Parameters of S3's operations on objects (docs: "Amazon S3 REST API", the object operations).
_OF_OBJECTS = frozenset(
    {
        *("acl", "attributes", "legal-hold", "partNumber", "restore", "retention", "select", "select-type"),
        *("tagging", "torrent", "uploadId", "uploads", "versionId"),
    }
)
_HOST = frozenset({"Host", "host", "HOST"})
_READING = frozenset({"GET", "HEAD"})
_OVERRIDE = "response-"
_ENCRYPTION = "x-amz-server-side-encryption"
_CUSTOMER_KEY = f"{_ENCRYPTION}-customer-"
_OWNER = "x-amz-expected-bucket-owner"
#: Headers of a PUT that the request which opens a multipart upload does not take.
_OF_THE_BYTES = ("x-amz-checksum-", "x-amz-sdk-checksum-", "content-md5", "content-length", "if-none-match")


class Kept(NamedTuple):
    """The query parameters and the headers that an old link has beside its signature."""

    query: Mapping[str, str]
    headers: Mapping[str, str]


_NOTHING = Kept({}, {})


def kept_of(link: Link, method: str) -> Kept:
    """What a link that is signed again for `method` keeps."""
    query = kept_query(link.url)
    if not (query or link.headers):
        return _NOTHING
    headers = link.headers
    if not headers.keys().isdisjoint(_HOST):
        headers = {name: value for name, value in headers.items() if name not in _HOST}
    if method == link.method and method != "POST":  # a POST completed an upload, another one opens the next
        return Kept(query, headers)
    return _fitting(query, headers, link.method, method)


def kept_query(url: str) -> dict[str, str]:
    """The parameters of a link's query that are the operation's own."""
    own = [text for text in url.partition("#")[0].partition("?")[2].split("&") if not text.startswith(_OF_SIGNATURE)]
    return dict(pair for text in own if (pair := _parameter(text))) if own else {}


def without_overrides(link: Link) -> Link:
    """The same link without what it says of the answer's headers, for a request that asks for the object's own."""
    own = kept_query(link.url)
    if not any(name.startswith(_OVERRIDE) for name in own):
        return link
    parts = [text for text in link.url.split("?", 1)[1].split("&") if not text.startswith(_OVERRIDE)]
    return Link(link.method, f"{link.url.partition('?')[0]}?{'&'.join(parts)}", link.headers, None, link.object)


@cache
def replaced_by(settings: tuple[str, ...]) -> tuple[str, ...]:
    """How the names begin, in lower case, of what some settings (by an option's name) take the place of."""
    return tuple(name for setting in settings for name in _replaced(setting))


def without_replaced(kept: Mapping[str, str], beginnings: tuple[str, ...], names: Iterable[str]) -> dict[str, str]:
    """What is kept where settings replace names that begin so, and `names` (in lower case) are given."""
    given = frozenset(names)
    return {
        name: value
        for name, value in kept.items()
        if not (lowered := name.lower()).startswith(beginnings) and lowered not in given
    }


@lru_cache(maxsize=1024)  # most links of a manifest have the same
def _parameter(text: str) -> tuple[str, str] | None:
    """The name and value of a parameter that is the operation's own."""
    name, _, value = text.partition("=")
    name = unquote_plus(name)
    lowered = name.lower()
    is_named = name in _OF_OBJECTS or lowered.startswith(("x-amz-", _OVERRIDE))
    return (name, unquote_plus(value)) if is_named and lowered not in _SIGNATURE_NAMES else None


def _fitting(query: dict[str, str], given: Mapping[str, str], old: str, new: str) -> Kept:
    headers = dict(given)
    payer = query.pop(PAYER, None) or next((headers.pop(name) for name in list(headers) if name.lower() == PAYER), None)
    kept_headers = {name: value for name, value in headers.items() if _header_fits(name.lower(), old, new)}
    kept = {name: value for name, value in query.items() if _parameter_fits(name, old, new)}
    if payer is not None:
        (kept_headers if new in CREATING else kept)[PAYER] = payer
    return Kept(kept, kept_headers)


def _header_fits(name: str, old: str, new: str) -> bool:
    if new == "POST" and name.startswith(_OF_THE_BYTES):
        return False
    if _is_alike(old, new) or name == _OWNER:
        return True
    return name.startswith(_CUSTOMER_KEY) and new != "DELETE"


def _parameter_fits(name: str, old: str, new: str) -> bool:
    if name == "versionId":
        return new not in CREATING
    return name.startswith(_OVERRIDE) and old in _READING and new in _READING


def _is_alike(old: str, new: str) -> bool:
    """True where links of both methods carry the same headers."""
    return {old, new} <= _READING or {old, new} <= CREATING


def _replaced(setting: str) -> tuple[str, ...]:
    if setting in {"sse", "sse_customer_key"}:  # the server takes one kind of encryption
        return (_ENCRYPTION,)
    return _REPLACED.get(setting) or (HEADERS.get(setting, setting.replace("_", "-")).lower(),)


_REPLACED: Mapping[str, tuple[str, ...]] = {
    "filename": ("response-content-disposition",),
    "request_payer": (PAYER,),
    "metadata": ("x-amz-meta-",),
    "sse_kms_key_id": (HEADERS["sse_kms_key_id"].lower(), _CUSTOMER_KEY),
    "checksum": ("x-amz-checksum-", "x-amz-sdk-checksum-", "content-md5"),
    "checksum_mode": ("x-amz-checksum-mode",),
    "version_id": ("versionid",),
}
