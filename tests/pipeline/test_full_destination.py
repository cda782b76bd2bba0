"""Copies to a destination that is full: the objects that are left are not read for nothing."""

import pytest

import bulkpresign as bp
from bulkpresign.transfer.engine.breaker import BREAKER_FAILURES
from tests.pipeline.copies import ProxiedSides
from tests.servers.proxy import Fault, Seen


@pytest.mark.parametrize(
    ("status", "code"), [(403, "QuotaExceeded"), (507, "XMinioStorageFull"), (400, "XMinioAdminBucketQuotaExceeded")]
)
def test_a_run_ends_where_the_destination_is_full(status: int, code: str, proxied: ProxiedSides) -> None:
    """Reading costs money where a provider bills for the bytes that leave it."""
    full = Fault(status, body=f"<Error><Code>{code}</Code></Error>".encode())

    def schedule(seen: Seen) -> Fault | None:
        return full if seen.method == "PUT" else None

    proxied.upload({f"{number:03}": b"1" for number in range(2 * BREAKER_FAILURES)})
    proxied.proxy.schedule = schedule
    with pytest.raises(bp.BreakerError, match=f"all failed with {code}"):
        proxied.copy(relay=True, concurrency=2)
    targets = {seen.target.partition("?")[0] for seen in proxied.proxy.seen if seen.method == "GET"}
    assert len([target for target in targets if target.startswith(f"/{proxied.source}/0")]) < 2 * BREAKER_FAILURES
