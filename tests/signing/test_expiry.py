"""The lifetime of links."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.model import ObjectRef
from bulkpresign.signing.expiry import MAX_EXPIRES_IN, check_expires_in, expires_at
from bulkpresign.signing.presigner import Presigner
from tests.signing.conftest import Clock
from tests.signing.oracle import Both

REFUSED: list[Any] = [0, -1, MAX_EXPIRES_IN + 1, True, 3600.0, "3600", None]
NOW = datetime(2026, 1, 1, 12, 0, 0, 999999, tzinfo=UTC)


@pytest.mark.parametrize("expires_in", REFUSED)
def test_refused(expires_in: Any) -> None:
    with pytest.raises(ParameterError, match="expires_in"):
        check_expires_in(expires_in)
    with pytest.raises(ParameterError, match="expires_in"):
        Presigner(expires_in=expires_in)


@pytest.mark.parametrize("expires_in", [value for value in REFUSED if value is not None])
def test_all_signing_methods_refuse_it(europe: Both, expires_in: Any) -> None:
    refs = [ObjectRef("bucket", "key")]
    for attempt in (
        lambda: europe.presigner.url_batch("bucket", ["key"], expires_in=expires_in),
        lambda: europe.presigner.sign_batch(refs, expires_in=expires_in),
        lambda: europe.presigner.post_batch(refs, expires_in=expires_in),
        lambda: europe.sign(refs, expires_in=expires_in),
        lambda: europe.presign("list_buckets", expires_in=expires_in),
        lambda: europe.presign_post("bucket", "key", expires_in=expires_in),
    ):
        with pytest.raises(ParameterError, match="expires_in"):
            attempt()


@pytest.mark.parametrize("expires_in", [1, 3600, MAX_EXPIRES_IN])
def test_allowed(europe: Both, clock: Clock, expires_in: int) -> None:
    assert check_expires_in(expires_in) == expires_in
    end = clock.now.replace(microsecond=0) + timedelta(seconds=expires_in)
    (link,) = europe.presigner.sign_batch([ObjectRef("bucket", "key")], expires_in=expires_in)
    assert link.expires_at == end
    assert f"X-Amz-Expires={expires_in}&" in link.url
    assert europe.presign("list_buckets", expires_in=expires_in).expires_at == end


def test_a_link_expires_with_its_credentials() -> None:
    assert expires_at(NOW, 60, None) == datetime(2026, 1, 1, 12, 1, tzinfo=UTC)
    assert expires_at(NOW, 60, NOW + timedelta(seconds=30)) == NOW + timedelta(seconds=30)
    assert expires_at(NOW, 60, NOW + timedelta(seconds=90)) == datetime(2026, 1, 1, 12, 1, tzinfo=UTC)


def test_the_expiry_is_in_utc() -> None:
    elsewhere = (NOW + timedelta(seconds=30)).astimezone(timezone(timedelta(hours=9)))
    assert expires_at(NOW, 60, elsewhere).tzinfo is UTC
