"""Hides secrets in texts from outside.

A server may repeat a request in its response, with signature, session token or key. So may the error message of a
library. `redacted` is called for each such text when it is received; `without_secrets` is called again before a message
is shown or stored. The time of both is linear in the length of the text.
"""

import re
from collections.abc import Collection, Mapping
from urllib.parse import unquote, unquote_plus

HIDDEN = "***"
#: The most characters of a text from outside; the rest is removed.
MAX_TEXT = 2000

#: The text between a name and its value: in a query, a header, JSON or XML, escaped or not.
_EQUALS = r"""["']?\s?(?:=|:|%3[aAdD]|&\#(?:61|58|[xX]3[aAdD]);)\s?["']?"""
_NAMES = (
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-session-token",
    "signature",
    "x-amz-(?:copy-source-)?server-side-encryption-customer-key(?:-md5)?",
    "(?:aws_?)?secret_?(?:access_?)?key",
    "(?:aws_?)?session_?token",
    "(?:access_?|id_?|refresh_?)?token",
    "pass(?:word|wd)",
)
_VALUE = rf"(?<![A-Za-z])({'|'.join(_NAMES)})({_EQUALS})[^\s&\"'<>,;]+"
#: Values of several words, such as `Basic dXNlcjpwYXNz`: the rest of the line is hidden.
_LINE = rf"(?<![A-Za-z])((?:proxy-)?authorization|(?:set-)?cookie)({_EQUALS})[^\r\n\"'<>]+"
_NAMED = re.compile(f"{_VALUE}|{_LINE}", re.IGNORECASE)
#: The id of the access key stays, because it names the owner of the link. The rest is the scope.
_CREDENTIAL = re.compile(rf"(x-amz-credential{_EQUALS}[A-Za-z0-9]{{1,128}})[^\s&\"'<>,;]*", re.IGNORECASE)
#: The query of a signed url, in any text.
_SIGNED_QUERY = re.compile(r"\?[^\s'\"]*(?:X-Amz-|Signature=)[^\s'\"]*", re.IGNORECASE)
_URL = re.compile(r"://[^\s\"'<>]+")
_QUERY = re.compile(r"(\?|%3[fF])([^\s\"'<>]+)")
#: A message without any of these words has no secrets. Most messages have none of them.
_SUSPECT = ("signature", "token", "authorization", "cookie", "customer-key", "secret", "credential", "passw", "@")

_SECRET_HEADERS = re.compile(
    r"(?:proxy-)?authorization|cookie|x-amz-security-token|.*-server-side-encryption-customer-key(?:-md5)?",
    re.IGNORECASE,
)
#: Parameters of a link that may be secret: all except those of S3 that are known to be public.
_PARAMETERS = re.compile(
    r"(?:^|&)(?!(?:X-Amz-(?:Algorithm|Credential|Date|Expires|SignedHeaders|Content-Sha256)|AWSAccessKeyId|Expires"
    r"|versionId|partNumber|uploadId|response-[a-z-]+|x-id|x-amz-checksum-[a-z0-9]+|x-amz-request-payer)(?:=|&|$))"
    r"([^&=]+)=?([^&]*)",
    re.IGNORECASE,
)
_MIN_SECRET_LENGTH = 4  # shorter values are likely to be in any message


def without_secrets(text: str) -> str:
    """The text without the values of secret names, and without the user and password of a url."""
    lowered = text.lower()
    if not any(word in lowered for word in _SUSPECT):
        return text
    if "?" in text:
        text = _SIGNED_QUERY.sub(f"?{HIDDEN}", text)
    text = _NAMED.sub(_hidden, _CREDENTIAL.sub(r"\1", text))
    return _URL.sub(_without_user, text) if "@" in text else text


def printable(text: str) -> str:
    """The text with all invisible characters escaped. Secrets are hidden once more, although messages have none."""
    return without_secrets(escaped(text))


def escaped(text: str) -> str:
    """The text with all invisible characters escaped."""
    return text if text.isprintable() else "".join(map(_printable, text))


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """A text from outside without secrets and without the queries of urls. `secrets` are hidden everywhere."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}..."
    if "?" in text or "%3" in text:
        text = _QUERY.sub(_without_query, _URL.sub(_without_any_query, text))
    return without_secrets(text)


def secrets_of(url: str, headers: Mapping[str, str]) -> list[str]:
    """The secrets of a request, encoded and decoded. The longest is first, because one may contain another."""
    address, _, query = url.partition("?")
    found = {value or name for name, value in _PARAMETERS.findall(query)}
    for name, value in headers.items():
        if _SECRET_HEADERS.fullmatch(name):
            found.update((value, *value.split()[1:]))  # `Bearer TOKEN`
    if "@" in address:
        user = address.partition("://")[2].partition("/")[0].rpartition("@")[0]
        found.update((user, user.partition(":")[2]))
    for text in list(found):
        if "%" in text or "+" in text:
            found.update((unquote(text), unquote_plus(text)))
    return sorted((text for text in found if len(text) >= _MIN_SECRET_LENGTH), key=len, reverse=True)


def _printable(char: str) -> str:
    return char if char.isprintable() else repr(char)[1:-1]


def _hidden(found: re.Match[str]) -> str:
    name, equals = (found[1], found[2]) if found[1] else (found[3], found[4])
    return f"{name}{equals}{HIDDEN}"


def _without_user(url: re.Match[str]) -> str:
    host, slash, path = url[0][3:].partition("/")
    return f"://{host.rpartition('@')[2]}{slash}{path}"


def _without_any_query(url: re.Match[str]) -> str:
    address, mark, query = url[0].partition("?")
    return f"{address}?{HIDDEN}" if query else f"{address}{mark}"


def _without_query(found: re.Match[str]) -> str:
    """Hides the query of an incomplete url, if it looks like one."""
    is_query = "=" in found[2] or "%3d" in found[2].lower()
    return f"{found[1]}{HIDDEN}" if is_query else found[0]
