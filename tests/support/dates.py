"""Dates in the header that a server sends."""

from datetime import timedelta
from email.utils import format_datetime

from bulkpresign.model import utc_now


def date_in(**ahead: float) -> str:
    """A Date header of a server whose clock is so far ahead of ours (the keywords of timedelta)."""
    return format_datetime(utc_now() + timedelta(**ahead), usegmt=True)
