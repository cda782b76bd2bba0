"""Finds a bucket's endpoint with a sample link of botocore.

botocore has the rules for endpoints: regions, partitions, path style, dual-stack, FIPS, access points, dotted names.
They are not repeated here: botocore signs one sample link per bucket, and the endpoint is the url before the key.
"""

from datetime import UTC, datetime
from urllib.parse import SplitResult, parse_qsl, urlsplit

from bulkpresign.aws import SAMPLE_CREDENTIALS, SAMPLE_EXPIRES_IN, SAMPLE_KEY
from bulkpresign.errors import SigningError
from bulkpresign.signing.endpoint import AUTH_NAMES, Endpoint
from bulkpresign.signing.sigv4 import Signer

_DEFAULT_PORTS = {"http": 80, "https": 443}


def endpoint_of_sample(url: str) -> Endpoint:
    """The endpoint of a sample link (`Aws.sample_link`).

    Signs the sample again with the endpoint and compares. Raises SigningError if the two links are not the same, byte
    for byte.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    scope = query.get("X-Amz-Credential", "").split("/")
    auth_names = tuple(name for name in query if name in AUTH_NAMES)
    if len(scope) != 5 or not parts.path.endswith(SAMPLE_KEY) or len(auth_names) < len(AUTH_NAMES):
        raise _not_in_batches()
    endpoint = Endpoint(
        origin=f"{parts.scheme}://{parts.netloc}",
        base_path=parts.path.removesuffix(SAMPLE_KEY),
        host=_signed_host(parts),
        region=scope[2],
        service=scope[3],
        auth_names=auth_names,
    )
    signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    signer = Signer(endpoint, SAMPLE_CREDENTIALS, "GET", now=signed_at, expires_in=SAMPLE_EXPIRES_IN)
    if signer.urls([SAMPLE_KEY]) != [url]:
        raise _not_in_batches()
    return endpoint


def _signed_host(parts: SplitResult) -> str:
    """The signed Host header: lower case, IPv6 in brackets, without the default port of the scheme."""
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{host}:{parts.port}"


def _not_in_batches() -> SigningError:
    return SigningError(
        "links for this bucket can't be signed in batches: botocore signs them in another way; use presign"
    )
