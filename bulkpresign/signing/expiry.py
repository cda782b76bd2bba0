"""The lifetime of links: the limits of S3, and the time at which a link expires."""

from datetime import datetime, timedelta

from bulkpresign.errors import ParameterError

#: SigV4 allows seven days (docs: "Authenticating Requests: Using Query Parameters", X-Amz-Expires).
MAX_EXPIRES_IN = 7 * 24 * 3600


def check_expires_in(expires_in: int) -> int:
    """The same number of seconds. Raises ParameterError for over seven days, which botocore signs and S3 refuses."""
    if isinstance(expires_in, bool) or not isinstance(expires_in, int):
        raise ParameterError(f"expires_in is a whole number of seconds, not {expires_in!r}")
    if not 1 <= expires_in <= MAX_EXPIRES_IN:
        raise ParameterError(f"expires_in of {expires_in:,} s is not between 1 s and 7 days ({MAX_EXPIRES_IN:,} s)")
    return expires_in


def expires_at(signed_at: datetime, expires_in: int, credentials_expire_at: datetime | None) -> datetime:
    """The time at which a link expires: after `expires_in` seconds, or earlier with its credentials."""
    end = signed_at.replace(microsecond=0) + timedelta(seconds=expires_in)
    return end if credentials_expire_at is None else min(end, credentials_expire_at.astimezone(end.tzinfo))
