"""The settings of a link that are preserved when it is signed again.

These are its signed headers, and the query parameters of S3's object operations. If the method changes, only the
settings that the new method supports are preserved: GET and HEAD share theirs, a PUT has no response overrides.
"""

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import NamedTuple
from urllib.parse import unquote_plus

from bulkpresign.model import Link
from bulkpresign.signing.options import CREATING, HEADERS, PAYER

#: The parameters of a signature (SigV4, SigV2), as they start in a query.
_SIGNATURE_PREFIXES = (
    *("X-Amz-Algorithm=", "X-Amz-Credential=", "X-Amz-Date=", "X-Amz-Expires=", "X-Amz-SignedHeaders="),
    *("X-Amz-Security-Token=", "X-Amz-Signature=", "AWSAccessKeyId=", "Signature=", "Expires="),
)
#: The same in lower case, for tools with another spelling.
_SIGNATURE_NAMES = frozenset(text.removesuffix("=").lower() for text in _SIGNATURE_PREFIXES)
#: Parameters of S3's operations on objects (docs: "Amazon S3 REST API", the object operations).
_OPERATION_PARAMETERS = frozenset(
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
#: Headers of the request that creates a multipart upload alone.
_UPLOAD_HEADERS = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type"})
#: Headers of a PUT that are not allowed in the request that creates a multipart upload.
_BODY_HEADERS = (
    *("x-amz-checksum-", "x-amz-sdk-checksum-", "content-md5", "content-length"),
    *("if-none-match", "if-match"),
)


class PreservedSettings(NamedTuple):
    """The query parameters and headers of a link, without those of its signature."""

    query: Mapping[str, str]
    headers: Mapping[str, str]


_NOTHING = PreservedSettings({}, {})


def preserved_settings(link: Link, method: str) -> PreservedSettings:
    """The settings of a link that a new link for `method` has too."""
    query = operation_query(link.url)
    if not (query or link.headers):
        return _NOTHING
    headers = link.headers
    if not headers.keys().isdisjoint(_HOST):
        headers = {name: value for name, value in headers.items() if name not in _HOST}
    if method == link.method and method != "POST":  # the old POST completed an upload, the new one creates one
        return PreservedSettings(query, headers)
    return _fitting(query, headers, link.method, method)


def operation_query(url: str) -> dict[str, str]:
    """The query parameters of a link's operation, without those of its signature."""
    own = [
        text for text in url.partition("#")[0].partition("?")[2].split("&") if not text.startswith(_SIGNATURE_PREFIXES)
    ]
    return dict(pair for text in own if (pair := _parameter(text))) if own else {}


def without_response_overrides(link: Link) -> Link:
    """The same link without response overrides, so that the response has the object's own headers."""
    own = operation_query(link.url)
    if not any(name.startswith(_OVERRIDE) for name in own):
        return link
    parts = [text for text in link.url.split("?", 1)[1].split("&") if not text.startswith(_OVERRIDE)]
    return Link(link.method, f"{link.url.partition('?')[0]}?{'&'.join(parts)}", link.headers, None, link.object)


@cache
def replaced_by(settings: tuple[str, ...]) -> tuple[str, ...]:
    """Prefixes, in lower case, of the parameters and headers that some settings (option names) replace."""
    return tuple(name for setting in settings for name in _replaced(setting))


def without_replaced(preserved: Mapping[str, str], prefixes: tuple[str, ...], names: Iterable[str]) -> dict[str, str]:
    """The preserved settings without those that have one of the prefixes or `names` (in lower case)."""
    given = frozenset(names)
    return {
        name: value
        for name, value in preserved.items()
        if not (lowered := name.lower()).startswith(prefixes) and lowered not in given
    }


@lru_cache(maxsize=1024)  # most links of a manifest share their parameters
def _parameter(text: str) -> tuple[str, str] | None:
    """The name and value of a parameter of the operation, None for one of the signature."""
    name, _, value = text.partition("=")
    name = unquote_plus(name)
    lowered = name.lower()
    is_named = name in _OPERATION_PARAMETERS or lowered.startswith(("x-amz-", _OVERRIDE))
    return (name, unquote_plus(value)) if is_named and lowered not in _SIGNATURE_NAMES else None


def _fitting(query: dict[str, str], given: Mapping[str, str], old: str, new: str) -> PreservedSettings:
    headers = dict(given)
    payer = query.pop(PAYER, None) or next((headers.pop(name) for name in list(headers) if name.lower() == PAYER), None)
    new_headers = {name: value for name, value in headers.items() if _header_fits(name.lower(), old, new)}
    new_query = {name: value for name, value in query.items() if _parameter_fits(name, old, new)}
    if payer is not None:
        (new_headers if new in CREATING else new_query)[PAYER] = payer
    return PreservedSettings(new_query, new_headers)


def _header_fits(name: str, old: str, new: str) -> bool:
    if new == "POST" and name.startswith(_BODY_HEADERS) and name not in _UPLOAD_HEADERS:
        return False
    if _is_alike(old, new) or name == _OWNER:
        return True
    return name.startswith(_CUSTOMER_KEY) and new != "DELETE"


def _parameter_fits(name: str, old: str, new: str) -> bool:
    if name == "versionId":
        return new not in CREATING
    return name.startswith(_OVERRIDE) and old in _READING and new in _READING


def _is_alike(old: str, new: str) -> bool:
    """True if links of both methods have the same headers."""
    return {old, new} <= _READING or {old, new} <= CREATING


def _replaced(setting: str) -> tuple[str, ...]:
    if setting in {"sse", "sse_customer_key"}:  # a request can name only one kind of encryption
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
