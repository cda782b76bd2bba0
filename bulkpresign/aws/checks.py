"""Checks of arguments that botocore would refuse late, or not at all."""

import re
import ssl
from urllib.parse import urlsplit

from bulkpresign.errors import ParameterError, SigningError

_ADDRESSING_STYLES = ("auto", "path", "virtual")
# Buckets that do not accept SigV4 links (docs: "Directory bucket naming rules", "Multi-Region Access Point ARNs").
# botocore, told to use SigV4, signs links to them that S3 refuses.
_DIRECTORY_SUFFIXES = ("--x-s3", "--xa-s3")
_MULTI_REGION_ARN = re.compile(r"arn:[^:]*:s3::")


def check_addressing_style(style: str) -> None:
    """Raises ParameterError for an unknown addressing style."""
    if style not in _ADDRESSING_STYLES:
        raise ParameterError(f"addressing_style {style!r} is not one of {', '.join(_ADDRESSING_STYLES)}")


def check_endpoint_url(endpoint_url: str) -> None:
    """Raises ParameterError for a url without scheme or host."""
    try:
        parts = urlsplit(endpoint_url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ParameterError(f"endpoint_url {endpoint_url!r} is not http:// or https:// with a host")


def check_ca_bundle(file: str) -> None:
    """Raises ParameterError for a file that holds no certificates; botocore would fail at its first request."""
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise ParameterError(f"{file} is not a file of certificates: {error}") from error


def check_signable(bucket: object) -> None:
    """Raises SigningError for a bucket whose links need another signature than SigV4 in the query."""
    if not isinstance(bucket, str):
        return
    if bucket.endswith(_DIRECTORY_SUFFIXES):
        raise SigningError(f"{bucket}: a directory bucket needs session credentials, which are not supported")
    if _MULTI_REGION_ARN.match(bucket):
        raise SigningError(f"{bucket}: a multi-region access point needs SigV4A, which is not supported")
