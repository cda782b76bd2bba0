"""Upload forms in bulk: POST policies (docs: "Creating an HTML form using AWS Signature Version 4").

The fields are the same as those of botocore's `generate_presigned_post`. Only the part with the key is computed for
each form.
"""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bulkpresign.aws import Credentials
from bulkpresign.signing.endpoint import Endpoint

Condition = dict[str, str] | list[Any]

_FILENAME = "${filename}"


class PostSigner:
    """Signs forms for one bucket at one time. `expires_in` is in seconds; `conditions` must allow the `fields`."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        bucket: str,
        *,
        now: datetime,
        expires_in: int,
        fields: Mapping[str, str] | None = None,
        conditions: Sequence[Condition] = (),
    ) -> None:
        timestamp = f"{now:%Y%m%dT%H%M%SZ}"
        scope = endpoint.scope(now)
        self._fields = dict(fields or {})
        self._auth = {
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": f"{credentials.access_key}/{scope}/aws4_request",
            "x-amz-date": timestamp,
        }
        if credentials.token is not None:
            self._auth["x-amz-security-token"] = credentials.token
        # The policy is one JSON object: the head, the condition of the key, the tail.
        expiration = f"{now + timedelta(seconds=expires_in):%Y-%m-%dT%H:%M:%SZ}"
        before = json.dumps({"expiration": expiration, "conditions": [*conditions, {"bucket": bucket}]})
        after = json.dumps([{name: value} for name, value in self._auth.items()])
        self._policy_head = f"{before.removesuffix(']}')}, "
        self._policy_tail = f", {after.removeprefix('[')}}}"
        self._key = credentials.signing_key(scope)

    def fields(self, key: str) -> dict[str, str]:
        """All fields of one signed form. A key that ends in `${filename}` accepts any name of the uploaded file."""
        policy = f"{self._policy_head}{json.dumps(_key_condition(key))}{self._policy_tail}"
        encoded = base64.b64encode(policy.encode())
        signature = hmac.digest(self._key, encoded, "sha256").hex()
        return {
            **self._fields,
            "key": key,
            **self._auth,
            "policy": encoded.decode(),
            "x-amz-signature": signature,
        }


def check_conditions(conditions: object) -> None:
    """Raises TypeError for conditions that are no list of conditions: a form without one would take any file."""
    if isinstance(conditions, str) or not isinstance(conditions, Sequence):
        raise TypeError(f"conditions is a list of conditions, not {type(conditions).__name__}")
    for condition in conditions:
        if not isinstance(condition, dict | list | tuple):
            raise TypeError(f"a condition is a dict or a list, not {type(condition).__name__}")


def _key_condition(key: str) -> Condition:
    if key.endswith(_FILENAME):
        return ["starts-with", "$key", key.removesuffix(_FILENAME)]
    return {"key": key}
