"""The errors of S3: pure functions from status, headers and body of a response to one of our errors.

Source: docs "Error responses" of Amazon S3, and observed responses of other servers.
"""

import re
from collections.abc import Mapping
from datetime import datetime

from bulkpresign.errors import (
    LinkExpiredError,
    RefusedError,
    ServerError,
    ThrottledError,
    TransferError,
)
from bulkpresign.http.dates import unix_time
from bulkpresign.model import Link, is_signed_for_s3
from bulkpresign.redact import redacted, secrets_of

_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9._-]{1,100})\s*</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,500})</Message>")
_REGION = re.compile(rb"<Region>([^<]{1,50})</Region>")
_REGION_NAME = re.compile(r"[a-z0-9-]{1,50}\Z")
_ENDPOINT = re.compile(rb"<Endpoint>([A-Za-z0-9.:-]{1,260})</Endpoint>")
#: The scheme and host to which a redirect leads. The rest can repeat the signature.
_REDIRECT = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,260}(?=[/?#]|\Z)")
_REDIRECTS = frozenset({"HTTP301", "HTTP302", "HTTP303", "HTTP307", "HTTP308"})
#: ExpiredRequest is that of Cloudflare R2: cloudflare/cloudflare-docs #32436.
_EXPIRED_CODES = frozenset({"ExpiredRequest", "ExpiredToken", "TokenRefreshRequired", "InvalidToken"})
#: Those of MinIO once credentials with a session token have ended: minio/minio #14075, #14491.
_ENDED_CREDENTIALS = frozenset({"InvalidAccessKeyId", "InvalidTokenId"})
#: Codes that tell what is wrong with a request at any time, so not that its link has expired.
_WRONG_AT_ANY_TIME = frozenset({"SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidObjectState", "EntityTooLarge"})
#: With status 400 or 403, too: the limits of KMS keys, of accounts, and of servers whose errors are those of other
#: services. Source: `retries/standard.py` of botocore.
_THROTTLED: frozenset[int | str] = frozenset(
    {
        *(429, 503, 509),
        *("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "ThrottledException"),
        *("TooManyRequests", "TooManyRequestsException", "RequestLimitExceeded", "RequestThrottled"),
        *("RequestThrottledException", "BandwidthLimitExceeded", "PriorRequestNotComplete", "KMS.ThrottlingException"),
    }
)
#: 499: nginx and SeaweedFS say that the client is gone, of a proxy between that closed its connection.
_TEMPORARY: frozenset[int | str] = frozenset(
    {
        408,
        499,
        500,
        502,
        504,
        "BadDigest",
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
    }
)
#: The prefix of the headers of S3: each of its responses has at least `x-amz-request-id`.
_OF_S3 = "x-amz-"
_REFUSALS = frozenset({400, 401, 403})
#: How `&` is written in HTML, and in JSON by some encoders.
_ESCAPED_AND = re.compile(r"&amp;|\\u0026")
_SIGNATURE = re.compile(r"[?&]X-Amz-Signature=([0-9a-f]{64}(?:&|\Z))?")
_VIRTUAL_HOST = "the server wants the bucket in the host name: sign with --addressing-style virtual"
#: AWS's global host name serves no bucket of a region launched after March 2019, and no new one of any other region.
#: Source: docs "Virtual hosting of general purpose buckets".
_REGIONAL_HOST = "the bucket is not served by the host of the link: sign with --addressing-style virtual"
#: The codes for a digest that is not that of the bytes, or not a digest.
_WRONG_DIGEST = frozenset({"BadDigest", "InvalidDigest"})
#: The code for an upload without Content-MD5 or a checksum, as to a bucket with Object Lock. It is that of MinIO: S3
#: has InvalidRequest for this, as for many things.
NO_DIGEST = "MissingContentMD5"
#: A GET of an object under a customer's key without that: AWS, and other servers.
_SSE_C = re.compile(
    r"stored using a form of Server Side Encryption|must provide .*(customer|encryption)", re.IGNORECASE
)
_NO_CUSTOMER_KEY = "the object is encrypted with a customer's key: sign --sse-customer-key makes links with it"
_HINTS = {
    NO_DIGEST: "a bucket with Object Lock takes bytes only with a checksum: put and sign have --checksum for that, and "
    "copy with credentials sends one",
    "SignatureDoesNotMatch": "the method, a signed header or the url is not what was signed",
    "RequestTimeTooSkewed": "this machine's clock, or the signer's, is wrong",
    "InvalidObjectState": "the object is archived and must be restored first",
    "ObjectNotInActiveTierError": "the object is archived and must be restored first",
    "AuthorizationHeaderMalformed": "signed for another region than the bucket's",
    "PermanentRedirect": "signed for another endpoint or region than the bucket's",
    "TemporaryRedirect": _REGIONAL_HOST,
    "IllegalLocationConstraintException": _REGIONAL_HOST,
    "PathStyleDomainForbidden": _VIRTUAL_HOST,  # Tencent COS
    "SecondLevelDomainForbidden": _VIRTUAL_HOST,  # Alibaba OSS
    "VirtualHostDomainRequired": _VIRTUAL_HOST,  # Huawei OBS
}


def error_of(
    status: int, headers: Mapping[str, str], body: bytes, link: Link, now: datetime, *, difference: str = ""
) -> TransferError:
    """The error that a response means. `body` may be cut off; `headers` have names in lower case.

    `now` is the server's present time, and `difference` says how far this machine's clock is from it. The message holds
    no secret of the request, even where the response repeats one.
    """
    secrets = secrets_of(link.url, link.headers)
    code = _text(_CODE, body)
    if code is None or redacted(code, secrets) != code:
        code = f"HTTP{status}"
    message = f"{status} {code}"
    if said := _text(_MESSAGE, body):
        message += f": {redacted(said, secrets)}"
    if status == 400 and _lacks_digest(code, said or ""):
        code = NO_DIGEST
    hint = (_damage(link.url) if status in _REFUSALS else None) or _hint(code, headers, body, difference)
    if not hint and status == 400 and _SSE_C.search(said or ""):
        hint = _NO_CUSTOMER_KEY
    if hint:
        message += f" ({redacted(hint, secrets)})"
    if _is_expired(status, code, body, link, now):
        return LinkExpiredError(_expired(message, link, now, difference), code=code, status=status)
    kind: type[TransferError] = RefusedError
    if not _THROTTLED.isdisjoint((status, code)):
        kind = ThrottledError
    elif not _TEMPORARY.isdisjoint((status, code)) or _is_gateway_error(status):
        kind = ServerError
    return kind(message, code=code, status=status, retry_after=retry_after(headers, now))


def check_is_of_s3(status: int, headers: Mapping[str, str], link: Link) -> None:
    """Raises ServerError for the response to a link of S3 that is a success, and that no S3 server sent.

    It has neither an etag nor a header `x-amz-*`. A gateway may remove the etag alone. Responses to links of other
    services are not checked: they have headers of their own.
    """
    if "etag" in headers or not is_signed_for_s3(link.url) or any(name.startswith(_OF_S3) for name in headers):
        return
    message = f"{status}, but the response is not that of an S3 server: it has no etag and no header {_OF_S3}*"
    hint = "a proxy or a login page may have sent it; see if the endpoint of the link can be reached from here"
    raise ServerError(f"{message} ({hint})", code="NoEtag", status=status)


def _is_gateway_error(status: int) -> bool:
    """True for 520 to 530, with which proxies and CDNs report that the server behind them failed."""
    return 520 <= status <= 530


def ended(link: Link) -> str:
    """Says when a link expired; the beginning of a message."""
    return f"the link ended at {link.expires_at:%Y-%m-%d %H:%M:%SZ}"


def _expired(message: str, link: Link, now: datetime, difference: str) -> str:
    if link.expires_at is not None and now >= link.expires_at:
        message = f"{ended(link)}: {message}"
    return "; ".join(filter(None, [message, difference]))


def _damage(url: str) -> str | None:
    """How a link was damaged, as by a mail program or a shell; None for one that looks whole."""
    if escaped := _ESCAPED_AND.search(url):
        return f"the link has {escaped[0]} where & was signed: it was copied from the source of a page or of JSON"
    if "X-Amz-Algorithm=AWS4-HMAC-SHA256" not in url:
        return None
    signature = _SIGNATURE.search(url)
    if signature is None:
        return "the link ends before its signature; copy all of it, in quotes for a shell"
    return None if signature[1] else "the link's signature is cut, or something follows it: copy exactly the link"


def _hint(code: str, headers: Mapping[str, str], body: bytes, difference: str) -> str | None:
    if code == "RequestTimeTooSkewed" and difference:
        return difference
    if code in _REDIRECTS:
        found = _REDIRECT.match(headers.get("location", ""))
        return f"the server redirects to {found[0] if found else 'elsewhere'}; no link is sent there"
    if headers.get("x-amz-delete-marker") == "true":
        return "it was deleted: this version is a delete marker"
    hint = _HINTS.get(code)
    region = bucket_region(headers, body)
    if hint and region:
        return f"{hint}, which is in {region}"
    endpoint = _text(_ENDPOINT, body)
    return f"the endpoint of the bucket is {endpoint}" if endpoint and hint != _VIRTUAL_HOST else hint


def bucket_region(headers: Mapping[str, str], body: bytes) -> str | None:
    """The region of the bucket, which the response to a request for another region names; else None."""
    region = headers.get("x-amz-bucket-region") or _text(_REGION, body) or ""
    return region if _REGION_NAME.match(region) else None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the header Retry-After asks to wait, given as a number or a date (RFC 9110, 10.2.3); else None."""
    value = headers.get("retry-after", "")
    if value.isascii() and value.isdecimal():
        return float(value)
    moment = unix_time(value)
    return None if moment is None else max(0.0, moment - now.timestamp())


def _lacks_digest(code: str, said: str) -> bool:
    return code not in _WRONG_DIGEST and "content-md5" in said.lower()


def _is_expired(status: int, code: str, body: bytes, link: Link, now: datetime) -> bool:
    """Servers differ: AWS says "Request has expired", Ceph only AccessDenied; Garage and rclone have status 400."""
    if status not in {400, 401, 403}:
        return False
    if code in _EXPIRED_CODES or b"Request has expired" in body:
        return True
    if code in _ENDED_CREDENTIALS and "X-Amz-Security-Token=" in link.url:
        return True
    over = link.expires_at is not None and now >= link.expires_at
    return over and code not in _WRONG_AT_ANY_TIME


def _text(pattern: re.Pattern[bytes], body: bytes) -> str | None:
    found = pattern.search(body)
    return found[1].decode("utf-8", "replace").strip() if found else None
