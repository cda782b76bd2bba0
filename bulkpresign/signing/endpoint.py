"""Where a bucket is: the fixed parts of every link to it."""

import msgspec

#: The parameters of a signature, as botocore's own signer orders them in a url. Its other one, which it takes where
#: awscrt is installed, has the last two the other way round.
AUTH_NAMES = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders")


class Endpoint(msgspec.Struct, frozen=True):
    """A link is `origin + base_path + key + query`.

    `base_path` ends in `/`; `host` is the signed Host header; `auth_names` orders the signature's own parameters.
    """

    origin: str
    base_path: str
    host: str
    region: str
    service: str = "s3"
    auth_names: tuple[str, ...] = AUTH_NAMES
