"""Endpoints as botocore sees them.

botocore's rules for endpoints (regions, partitions, path style, dual-stack, FIPS, access points, dotted names) are not
written again: botocore signs one sample link for a bucket, which is cut at the key. The rest is arithmetic.
"""

from datetime import UTC, datetime
from urllib.parse import SplitResult, parse_qsl, urlsplit

from bulkpresign.aws import SAMPLE_CREDENTIALS, SAMPLE_EXPIRES_IN, SAMPLE_KEY
from bulkpresign.errors import SigningError
from bulkpresign.signing.endpoint import AUTH_NAMES, Endpoint
from bulkpresign.signing.sigv4 import Signer

_DEFAULT_PORTS = {"http": 80, "https": 443}


def endpoint_of_sample(url: str) -> Endpoint:
    """Cuts a sample link (`Aws.sample_link`) at its key.

    Proves that nothing was lost: signed here for the same instant, the sample must come out byte for byte. Raises
    SigningError where it does not.
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
    """The Host header that is signed: in lower case, IPv6 in brackets, without the scheme's own port."""
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{host}:{parts.port}"


def _not_in_batches() -> SigningError:
    return SigningError(
        "links for this bucket can't be signed in batches, for botocore signs them in a way of its own: use presign"
    )
