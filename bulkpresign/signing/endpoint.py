"""Where a bucket is, as botocore sees it.

botocore's rules for endpoints (regions, partitions, path style, dual-stack, FIPS, access points, dotted names) are not
written again: botocore signs one sample link for a bucket, which is cut at the key. The rest is arithmetic.
"""

from datetime import UTC, datetime
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec

from bulkpresign.aws import SAMPLE_CREDENTIALS, SAMPLE_KEY
from bulkpresign.errors import SigningError


class Endpoint(msgspec.Struct, frozen=True):
    """The fixed parts of every link to one bucket: `origin + base_path + key + query`."""

    origin: str
    base_path: str
    host: str
    region: str
    service: str = "s3"

    @classmethod
    def from_sample(cls, url: str) -> "Endpoint":
        """Cuts a sample link (`Aws.sample_link`) at its key.

        Proves that nothing was lost: signed here for the same instant, the sample must come out byte for byte. Raises
        SigningError where it does not (SigV4A of multi-region access points, directory buckets).
        """
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        scope = query.get("X-Amz-Credential", "").split("/")
        if len(scope) != 5 or not parts.path.endswith(SAMPLE_KEY):
            raise SigningError("links for this bucket can't be signed in batches; use presign")
        endpoint = cls(
            origin=f"{parts.scheme}://{parts.netloc}",
            base_path=parts.path.removesuffix(SAMPLE_KEY),
            host=_signed_host(parts),
            region=scope[2],
            service=scope[3],
        )
        endpoint._prove(url, datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))
        return endpoint

    def _prove(self, url: str, signed_at: datetime) -> None:
        from bulkpresign.signing.sigv4 import Signer

        signer = Signer(self, SAMPLE_CREDENTIALS, "GET", now=signed_at, expires_in=3600)
        if signer.urls([SAMPLE_KEY]) != [url]:
            raise SigningError("links for this bucket can't be signed in batches; use presign")


def _signed_host(parts: SplitResult) -> str:
    """The Host header that is signed: in lower case, IPv6 in brackets, without the scheme's own port."""
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    default = {"http": 80, "https": 443}[parts.scheme]
    return host if parts.port in {None, default} else f"{host}:{parts.port}"
