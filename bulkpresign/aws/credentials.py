"""Credentials, as the AWS chain gives them."""

import hmac
from datetime import UTC, datetime
from typing import Any

import msgspec

from bulkpresign.aws.errors import credentials_errors
from bulkpresign.errors import CredentialsError
from bulkpresign.model import rich_repr


class Credentials(msgspec.Struct, frozen=True):
    """An access key. `expires_at` is an aware UTC datetime, None for credentials that do not expire."""

    access_key: str
    secret_key: str
    token: str | None = None
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key}, expires_at={self.expires_at})"

    __rich_repr__ = rich_repr

    def signing_key(self, scope: str) -> bytes:
        """The key that signs in a scope, such as `20261124/eu-west-1/s3` (docs: "Deriving the signing key").

        The secret key can't be computed from it.
        """
        key = b"AWS4" + self.secret_key.encode()
        for part in (*scope.split("/"), "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return key


async def session_credentials(session: Any) -> Credentials:
    """The credentials of an aioboto3 session; those that are about to expire are refreshed.

    Raises CredentialsError if there are none, or if a refresh fails.
    """
    with credentials_errors():
        source = await session.get_credentials()
        if source is None:
            raise CredentialsError(
                "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with --profile"
            )
        frozen = await source.get_frozen_credentials()
    # botocore has no public name for the time at which credentials expire.
    expires_at: datetime | None = getattr(source, "_expiry_time", None)
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token, expires_at and expires_at.astimezone(UTC))
