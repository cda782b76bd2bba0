"""The endpoint of a bucket: the parts that all links to it share."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

#: The parameters of a signature, in the order of botocore's Python signer. Its other signer, which it uses if awscrt is
#: installed, swaps the last two.
AUTH_NAMES = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")


class Endpoint(msgspec.Struct, frozen=True):
    """A link is `origin + base_path + key + query`.

    `base_path` ends in `/`; `host` is the signed Host header; `auth_names` is the order of the signature's parameters.
    `reading` are the query parameters of all GET and HEAD links.
    """

    origin: str
    base_path: str
    host: str
    region: str
    service: str = "s3"
    auth_names: tuple[str, ...] = AUTH_NAMES
    reading: Mapping[str, str] = {}

    def scope(self, now: datetime) -> str:
        """The day, region and service of signatures: `20261124/eu-west-1/s3`."""
        return f"{now:%Y%m%d}/{self.region}/{self.service}"

    @property
    def of_bucket(self) -> "Endpoint":
        """The endpoint of links to the bucket itself, whose path has no `/` at the end."""
        return msgspec.structs.replace(self, base_path=self.base_path.rstrip("/") or "/")
