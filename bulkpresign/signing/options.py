"""The options of links: for a whole run, or for one row by a column of the same name.

They become signed query parameters and headers, the same as botocore's. The exception is requester pays: botocore signs
it as a header, so its links don't open in a browser. AWS also accepts it in the query (docs: "Downloading objects from
Requester Pays buckets"), and the GET, HEAD and DELETE links here have it there.
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
from bulkpresign.model import ObjectRef, rich_repr
from bulkpresign.signing.values import metadata_of, option_problem

METHODS = ("GET", "PUT", "HEAD", "DELETE")
#: The methods of links that create an object, or a multipart upload.
CREATING = frozenset({"PUT", "POST"})

Settings = Mapping[str, Any]

#: Values in an object's `extra` of a row that does not set an option.
_UNSET = (None, "")


class LinkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of every link of a run; None: not set. A row's column of the same name overrides an option.

    GET links: `filename` is the file name that a browser uses (`{name}`: the key's last segment); it sets
    `response_content_disposition`. The `response_...` options are response headers that S3 then sends.

    PUT links: headers, which are signed and must be sent. `metadata` by name (as a column: a JSON object), `tagging` as
    `k=v&k2=v2`, quoted as in a url; `sse` is `AES256` or `aws:kms`; `if_none_match` is `*`: nothing is overwritten.

    Both: `sse_customer_key` is 32 bytes in base64, and GET links need its headers as well; `request_payer` is
    `requester`. Values that S3 may extend (storage classes, canned ACLs) are passed on without a check.

    GET and HEAD links: `checksum_mode` is `ENABLED`. It is a signed header with which S3 sends the object's checksum.
    Such a link does not open in a browser, only with tools that send its headers.
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

    __rich_repr__ = rich_repr

    @property
    def given(self) -> list[tuple[str, Any]]:
        """The options that are set, by name."""
        return [(name, value) for name in self.__struct_fields__ if (value := getattr(self, name)) is not None]

    def check(self, method: str) -> None:
        """Raises ParameterError for an invalid value, and for an option that links of this method can't have."""
        for name, value in self.given:
            if method not in _METHODS[name]:
                methods = [each for each in _METHODS[name] if each in METHODS]
                raise ParameterError(f"{_spelled(name)} is for {' and '.join(methods)} links")
            if problem := option_problem(name, value):
                raise ParameterError(f"{_spelled(name)}: {problem}")


def options_of(options: LinkOptions | None) -> LinkOptions:
    """The given options, or none of them. Raises TypeError for another type, such as a dict."""
    if not isinstance(options, LinkOptions | None):
        raise TypeError(f"options is a LinkOptions, not {type(options).__name__}")
    return options or LinkOptions()


_CUSTOMER_KEY = "sse_customer_key"
OVERRIDES = tuple(name for name in LinkOptions.__struct_fields__ if name.startswith("response_"))
#: Options whose value becomes the value of a header.
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
#: Setting one of the two unsets the other.
_ALTERNATIVE = {"filename": _DISPOSITION, _DISPOSITION: "filename"}

#: The methods whose links can have an option. A POST creates a multipart upload, with the headers of a PUT; S3 checks
#: `if_none_match` when the upload is completed.
_METHODS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(LinkOptions.__struct_fields__, ("PUT", "POST")),
    **dict.fromkeys(OVERRIDES, ("GET", "HEAD")),
    "filename": ("GET",),
    "checksum_mode": ("GET", "HEAD"),
    "request_payer": ("GET", "HEAD", "PUT", "DELETE", "POST"),
    _CUSTOMER_KEY: ("GET", "HEAD", "PUT", "POST"),
}
#: The columns that set an option for one row, by method. Other methods ignore them and carry them through, so that one
#: list works for uploads and downloads. `content_type` and `checksum` are fields of the object.
OPTION_COLUMNS: dict[str, tuple[str, ...]] = {
    method: tuple(name for name in LinkOptions.__struct_fields__ if method in _METHODS[name] and name != "content_type")
    for method in _METHODS["request_payer"]
}

_NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f\\\"]")


def row_settings(ref: ObjectRef, method: str, filename: str | None) -> dict[str, Any]:
    """The settings of one object's row: options, `version_id` and `checksum`, by name.

    `filename` is the run's option if it depends on the key. Raises ParameterError for a value that is not valid.
    """
    settings: dict[str, Any] = {}
    if ref.version_id:
        settings["version_id"] = ref.version_id
    if ref.content_type and method in CREATING:
        settings["content_type"] = ref.content_type
    if ref.checksum and method == "PUT" and "-" not in ref.checksum:  # a composite one ends in -N
        settings["checksum"] = _checked_checksum(ref, ref.checksum)
    if ref.extra:
        for name in OPTION_COLUMNS[method]:
            if ref.extra.get(name) not in _UNSET:
                settings[name] = _checked(ref, name)
    if filename is not None and _DISPOSITION not in settings:
        settings.setdefault("filename", filename)
    if "filename" in settings:
        settings.pop(_DISPOSITION, None)
        settings["filename"] = settings["filename"].replace("{name}", ref.key.rstrip("/").rpartition("/")[2])
    return settings


def run_settings(options: LinkOptions, own: Collection[str]) -> dict[str, Any]:
    """The options of a run, without those that the rows set themselves (`own`)."""
    replaced = {*own, *(_ALTERNATIVE[name] for name in own if name in _ALTERNATIVE)}
    settings = {name: value for name, value in options.given if name not in replaced}
    if "filename" in settings and _DISPOSITION in settings:
        raise ParameterError("filename and response-content-disposition are both given: filename sets the other")
    return settings


def query_of(settings: Settings, method: str) -> dict[str, str]:
    """The query parameters of some settings."""
    query = {"versionId": settings["version_id"]} if "version_id" in settings else {}
    if "filename" in settings:
        query["response-content-disposition"] = saved_as(settings["filename"])
    query |= {name.replace("_", "-"): settings[name] for name in OVERRIDES if name in settings}
    if "request_payer" in settings and method not in CREATING:
        query[PAYER] = settings["request_payer"]
    return query


def headers_of(settings: Settings, method: str) -> dict[str, str]:
    """The headers of some settings."""
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
    """The Content-Disposition with a file name (RFC 6266: ASCII for old browsers, UTF-8 for others)."""
    plain = _NOT_PLAIN.sub("_", name.encode("ascii", "replace").decode())
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _checked(ref: ObjectRef, name: str) -> Any:
    value = (ref.extra or {})[name]
    if problem := option_problem(name, value):
        raise ParameterError(f"{ref.uri}: {name}: {problem}")
    return value


def _checked_checksum(ref: ObjectRef, checksum: str) -> str:
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
