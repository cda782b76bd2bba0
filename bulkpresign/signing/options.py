"""What a link carries beside its object: options of a run, and columns of the same names for single rows.

Pure functions turn them into the query parameters and headers that are signed. botocore is the reference for both,
requester pays apart: botocore signs that as a header, with which no link opens in a browser. AWS takes it in the query
(docs: "Downloading objects from Requester Pays buckets"), where GET, HEAD and DELETE links have it.
"""

import re
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Collection, Mapping
from hashlib import md5
from typing import Any
from urllib.parse import quote

import msgspec

from bulkpresign.checksums import checksum_problem
from bulkpresign.errors import ParameterError
from bulkpresign.model import ObjectRef
from bulkpresign.signing.values import metadata_of, option_problem

METHODS = ("GET", "PUT", "HEAD", "DELETE")
#: The methods of links that make an object: at once, or by a multipart upload that is opened.
CREATING = frozenset({"PUT", "POST"})

Settings = Mapping[str, Any]

#: What an object's `extra` has where its row has nothing of its own.
_NOTHING = (None, "")


class LinkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What every link of a run carries; None: nothing. A row's own column of the same name goes first.

    GET links: `filename` is the name under which a browser saves (`{name}`: the key's last segment), in place of
    `response_content_disposition`; the other overrides are the response headers that S3 then sends.

    PUT links: headers, which are signed and must be sent. `metadata` by name (as a column: a JSON object), `tagging` as
    `k=v&k2=v2`, quoted as in a url; `sse` is `AES256` or `aws:kms`; `if_none_match` is `*`: nothing is overwritten.

    Both: `sse_customer_key` is 32 bytes in base64, whose headers GET links need as well; `request_payer` is
    `requester`. Values that S3 may know tomorrow (storage classes, canned ACLs) are passed on as they are.

    GET and HEAD links: `checksum_mode` is `ENABLED`. It is a signed header, with which S3 sends the object's checksum;
    such a link opens in no browser, only with tools that send its headers.
    """

    filename: str | None = None
    response_content_type: str | None = None
    response_content_disposition: str | None = None
    response_content_encoding: str | None = None
    response_content_language: str | None = None
    response_cache_control: str | None = None
    response_expires: str | None = None
    request_payer: str | None = None
    checksum_mode: str | None = None
    content_type: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    metadata: Mapping[str, str] | None = None
    storage_class: str | None = None
    tagging: str | None = None
    acl: str | None = None
    sse: str | None = None
    sse_kms_key_id: str | None = None
    sse_customer_key: str | None = None
    if_none_match: str | None = None

    def __repr__(self) -> str:
        return f"LinkOptions({', '.join(f'{name}={value!r}' for name, value in self.given if name != _CUSTOMER_KEY)})"

    @property
    def given(self) -> list[tuple[str, Any]]:
        """Those that are set, by name."""
        return [(name, value) for name in self.__struct_fields__ if (value := getattr(self, name)) is not None]

    def check(self, method: str) -> None:
        """Raises ParameterError for one that can't be, or that links of this method don't carry."""
        for name, value in self.given:
            if method not in _METHODS[name]:
                methods = [each for each in _METHODS[name] if each in METHODS]
                raise ParameterError(f"{_spelled(name)} is for {' and '.join(methods)} links")
            if problem := option_problem(name, value):
                raise ParameterError(f"{_spelled(name)}: {problem}")


_CUSTOMER_KEY = "sse_customer_key"
OVERRIDES = tuple(name for name in LinkOptions.__struct_fields__ if name.startswith("response_"))
#: The header that an option becomes as it is.
HEADERS = {
    "checksum_mode": "x-amz-checksum-mode",
    "content_type": "Content-Type",
    "cache_control": "Cache-Control",
    "content_disposition": "Content-Disposition",
    "content_encoding": "Content-Encoding",
    "storage_class": "x-amz-storage-class",
    "tagging": "x-amz-tagging",
    "acl": "x-amz-acl",
    "sse": "x-amz-server-side-encryption",
    "sse_kms_key_id": "x-amz-server-side-encryption-aws-kms-key-id",
    "if_none_match": "If-None-Match",
}
PAYER = "x-amz-request-payer"
_DISPOSITION = "response_content_disposition"
#: Each of the two takes the other's place.
_STAND_IN = {"filename": _DISPOSITION, _DISPOSITION: "filename"}

#: The methods whose links carry an option. A POST opens a multipart upload, with the headers of a PUT; what is put only
#: if nothing is there is minded when it is completed.
_METHODS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LinkOptions.__struct_fields__, ("PUT", "POST")),
    **dict.fromkeys(OVERRIDES, ("GET", "HEAD")),
    "filename": ("GET",),
    "checksum_mode": ("GET", "HEAD"),
    "request_payer": ("GET", "HEAD", "PUT", "DELETE", "POST"),
    _CUSTOMER_KEY: ("GET", "HEAD", "PUT", "POST"),
}
#: The columns that set an option for one row, by method; other methods carry them through unread, so that one list
#: serves for uploads and downloads. `content_type` and `checksum` have a place in the object itself.
OPTION_COLUMNS: dict[str, tuple[str, ...]] = {
    method: tuple(name for name in LinkOptions.__struct_fields__ if method in _METHODS[name] and name != "content_type")
    for method in _METHODS["request_payer"]
}

_NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f\\\"]")


def row_settings(ref: ObjectRef, method: str, filename: str | None) -> dict[str, Any]:
    """What one object's link carries of its own, by option or `version_id` or `checksum`.

    `filename` is the run's, where it differs from key to key. Raises ParameterError for what can't be.
    """
    settings: dict[str, Any] = {}
    if ref.version_id:
        settings["version_id"] = ref.version_id
    if ref.content_type and method in CREATING:
        settings["content_type"] = ref.content_type
    if ref.checksum and method == "PUT" and "-" not in ref.checksum:  # of parts it ends in their number
        settings["checksum"] = _checked_sum(ref, ref.checksum)
    if ref.extra:
        for name in OPTION_COLUMNS[method]:
            if ref.extra.get(name) not in _NOTHING:
                settings[name] = _checked(ref, name)
    if filename is not None and _DISPOSITION not in settings:
        settings.setdefault("filename", filename)
    if "filename" in settings:
        settings.pop(_DISPOSITION, None)
        settings["filename"] = settings["filename"].replace("{name}", ref.key.rstrip("/").rpartition("/")[2])
    return settings


def run_settings(options: LinkOptions, own: Collection[str]) -> dict[str, Any]:
    """What the links of a kind share: the options, without those that their rows have of their own, by name."""
    replaced = {*own, *(_STAND_IN[name] for name in own if name in _STAND_IN)}
    settings = {name: value for name, value in options.given if name not in replaced}
    if "filename" in settings and _DISPOSITION in settings:
        raise ParameterError("filename and response-content-disposition are both given: the one makes the other")
    return settings


def query_of(settings: Settings, method: str) -> dict[str, str]:
    """The query parameters that some settings become."""
    query = {"versionId": settings["version_id"]} if "version_id" in settings else {}
    if "filename" in settings:
        query["response-content-disposition"] = saved_as(settings["filename"])
    query |= {name.replace("_", "-"): settings[name] for name in OVERRIDES if name in settings}
    if "request_payer" in settings and method not in CREATING:
        query[PAYER] = settings["request_payer"]
    return query


def headers_of(settings: Settings, method: str) -> dict[str, str]:
    """The headers that some settings become."""
    headers = {header: settings[name] for name, header in HEADERS.items() if name in settings}
    if "checksum" in settings:
        algorithm, _, value = settings["checksum"].partition(":")
        headers["Content-MD5" if algorithm == "md5" else f"x-amz-checksum-{algorithm}"] = value
    if "metadata" in settings:
        headers |= {f"x-amz-meta-{name}": value for name, value in metadata_of(settings["metadata"]).items()}
    if _CUSTOMER_KEY in settings:
        headers |= _customer_headers(settings[_CUSTOMER_KEY])
    if "request_payer" in settings and method in CREATING:
        headers[PAYER] = settings["request_payer"]
    if method == "POST":
        headers.pop("If-None-Match", None)
    return headers


def saved_as(name: str) -> str:
    """The disposition with which a browser saves under a name (RFC 6266: plain for old ones, UTF-8 for the rest)."""
    plain = _NOT_PLAIN.sub("_", name.encode("ascii", "replace").decode())
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _checked(ref: ObjectRef, name: str) -> Any:
    value = (ref.extra or {})[name]
    if problem := option_problem(name, value):
        raise ParameterError(f"{ref.uri}: {name}: {problem}")
    return value


def _checked_sum(ref: ObjectRef, checksum: str) -> str:
    if problem := checksum_problem(checksum):
        raise ParameterError(f"{ref.uri}: {problem}")
    return checksum


def _customer_headers(key: str) -> dict[str, str]:
    prefix = "x-amz-server-side-encryption-customer"
    digest = md5(a2b_base64(key), usedforsecurity=False).digest()
    return {
        f"{prefix}-algorithm": "AES256",
        f"{prefix}-key": key,
        f"{prefix}-key-MD5": b64encode(digest).decode(),
    }


def _spelled(name: str) -> str:
    return name.replace("_", "-")
