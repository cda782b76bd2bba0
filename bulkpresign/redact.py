"""Hides secrets in texts that come from outside.

A server may repeat a request in its answer: the signature, a session token, a key. What a library says of a request may
hold them as well. Every such text goes through `redacted` where it enters; `without_secrets` is the last look at a
message that is about to be shown or stored.
"""

import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote, unquote_plus

HIDDEN = "***"

#: What stands between a name and its value: in a query, a header, JSON or XML, escaped or not.
_IS = r"""["']?\s*(?:=|:|%3[aAdD]|&\#(?:61|58|[xX]3[aAdD]);)\s*["']?"""
_NAMES = (
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-session-token",
    "signature",
    "x-amz-(?:copy-source-)?server-side-encryption-customer-key(?:-md5)?",
    "(?:aws_?)?secret_?(?:access_?)?key",
    "(?:aws_?)?session_?token",
    "(?:access_?|id_?|refresh_?)?token",
    "pass(?:word|wd)?",
)
_VALUE = rf"(?<![A-Za-z])({'|'.join(_NAMES)})({_IS})[^\s&\"'<>,;]+"
#: Of several words, as `Basic dXNlcjpwYXNz`, so the rest of the line goes.
_LINE = rf"(?<![A-Za-z])((?:proxy-)?authorization|(?:set-)?cookie)({_IS})[^\r\n\"'<>]+"
_NAMED = re.compile(f"{_VALUE}|{_LINE}", re.IGNORECASE)
#: The access key's id stays: it tells whose link it is. The rest is the scope.
_CREDENTIAL = re.compile(rf"(x-amz-credential{_IS}[A-Za-z0-9]{{1,128}})[^\s&\"'<>,;]*", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/\s?#\"'<>]*@")
_URL_QUERY = re.compile(r"(://[^\s?\"'<>]*)\?[^\s\"'<>]+")
_ANY_QUERY = re.compile(r"(\?|%3[fF])[^\s\"'<>]*?(?:=|%3[dD])[^\s\"'<>]*")
#: A message without any of these has nothing to hide; most have none.
_SUSPECT = re.compile(r"sign|token|auth|cookie|key|credential|pass|@", re.IGNORECASE)

_SECRET_HEADERS = re.compile(
    r"(?:proxy-)?authorization|cookie|x-amz-security-token|.*-server-side-encryption-customer-key(?:-md5)?",
    re.IGNORECASE,
)
#: Parameters of S3 links that tell no secret. Any other one may be a token.
_PUBLIC = re.compile(
    r"X-Amz-(?:Algorithm|Credential|Date|Expires|SignedHeaders|Content-Sha256)|AWSAccessKeyId|Expires|versionId"
    r"|partNumber|uploadId|response-.*|x-id|x-amz-checksum-.*|x-amz-request-payer",
    re.IGNORECASE,
)
_LEAST_SECRET = 4  # shorter values are words of any message


def without_secrets(text: str) -> str:
    """The text without values that are named as secrets, and without a url's user and password."""
    if not _SUSPECT.search(text):
        return text
    text = _NAMED.sub(_hidden, _CREDENTIAL.sub(r"\1", text))
    return _USER.sub("", text)


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """A text from outside without secrets and queries of urls; `secrets` are hidden wherever they stand."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    text = _URL_QUERY.sub(rf"\1?{HIDDEN}", text)
    return without_secrets(_ANY_QUERY.sub(rf"\1{HIDDEN}", text))


def secrets_of(url: str, headers: Mapping[str, str]) -> list[str]:
    """The secrets that a request sends, as they are and decoded; the longest first, for one may hold another."""
    address, _, query = url.partition("?")
    found = {value for name, value in headers.items() if _SECRET_HEADERS.fullmatch(name)}
    for parameter in query.split("&"):
        name, equals, value = parameter.partition("=")
        if not _PUBLIC.fullmatch(unquote(name)):
            found.add(value if equals else name)
    if user := _USER.search(address):
        found.update((user[0][:-1], user[0][:-1].partition(":")[2]))
    found |= {decoded for text in found for decoded in (unquote(text), unquote_plus(text))}
    return sorted((text for text in found if len(text) >= _LEAST_SECRET), key=len, reverse=True)


def _hidden(found: re.Match[str]) -> str:
    name, equals = (found[1], found[2]) if found[1] else (found[3], found[4])
    return f"{name}{equals}{HIDDEN}"
