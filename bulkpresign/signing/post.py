"""Upload forms in bulk: POST policies (docs: "Creating an HTML form using AWS Signature Version 4").

Field for field what botocore's `generate_presigned_post` gives, with all but the key's own part computed once.
"""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bulkpresign.aws import Credentials
from bulkpresign.signing.endpoint import Endpoint
from bulkpresign.signing.sigv4 import signing_key

Condition = dict[str, str] | list[Any]


class PostSigner:
    """Signs forms for one bucket at one instant. `expires_in` in seconds."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials, bucket: str, *, now: datetime, expires_in: int) -> None:
        timestamp = f"{now:%Y%m%dT%H%M%SZ}"
        scope = f"{timestamp[:8]}/{endpoint.region}/{endpoint.service}/aws4_request"
        self._bucket = bucket
        self._expiration = f"{now + timedelta(seconds=expires_in):%Y-%m-%dT%H:%M:%SZ}"
        self._auth = {
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": f"{credentials.access_key}/{scope}",
            "x-amz-date": timestamp,
        }
        if credentials.token is not None:
            self._auth["x-amz-security-token"] = credentials.token
        self._key = signing_key(credentials.secret_key, timestamp[:8], endpoint.region, endpoint.service)

    def fields(self, key: str, fields: Mapping[str, str], conditions: Sequence[Condition]) -> dict[str, str]:
        """All fields of the form for one key, signed. A key that ends in `${filename}` takes the name that is uploaded."""
        policy = {
            "expiration": self._expiration,
            "conditions": [
                *conditions,
                {"bucket": self._bucket},
                _key_condition(key),
                *({name: value} for name, value in self._auth.items()),
            ],
        }
        encoded = base64.b64encode(json.dumps(policy).encode()).decode()
        signature = hmac.digest(self._key, encoded.encode(), "sha256").hex()
        return {**fields, "key": key, **self._auth, "policy": encoded, "x-amz-signature": signature}


def _key_condition(key: str) -> Condition:
    if key.endswith("${filename}"):
        return ["starts-with", "$key", key.removesuffix("${filename}")]
    return {"key": key}
