"""Where a bucket is: the fixed parts of every link to it."""

import msgspec


class Endpoint(msgspec.Struct, frozen=True):
    """A link is `origin + base_path + key + query`. `base_path` ends in `/`; `host` is the signed Host header."""

    origin: str
    base_path: str
    host: str
    region: str
    service: str = "s3"
