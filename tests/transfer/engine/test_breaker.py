"""The circuit breaker stops a run once so many objects in a row have failed with one common cause, and no sooner."""

import pytest

from bulkpresign.errors import BreakerError
from bulkpresign.model import ObjectRef, Outcome
from bulkpresign.transfer.engine.breaker import FIRST_DENIED, CircuitBreaker

DONE, SKIPPED = Outcome(ObjectRef("b", "k"), "done"), Outcome(ObjectRef("b", "k"), "skipped")


def failed(code: str, status: str = "failed") -> Outcome:
    return Outcome(ObjectRef("b", "k"), status, code=code, message=f"403 {code}")  # type: ignore[arg-type]


def stops(*outcomes: Outcome) -> bool:
    """True where a breaker of three failures stops at the last outcome; at an earlier one is an error."""
    breaker = CircuitBreaker(failures=3)
    for outcome in outcomes[:-1]:
        breaker.record([outcome])
    try:
        breaker.record(outcomes[-1:])
    except BreakerError:
        return True
    return False


@pytest.mark.parametrize("between", [DONE, SKIPPED, failed("NoSuchKey"), failed("NoSuchBucket")])
def test_failures_in_a_row_with_one_cause_stop_a_run(between: Outcome) -> None:
    refused = failed("SignatureDoesNotMatch")
    assert not stops(refused, refused)
    assert stops(refused, refused, refused)
    assert not stops(refused, refused, between, refused)
    assert not stops(refused, refused, between, refused, refused)
    assert stops(refused, refused, between, refused, refused, refused)


@pytest.mark.parametrize("code", ["InvalidRegionName", "PathStyleDomainForbidden", "SecondLevelDomainForbidden"])
def test_a_setting_that_a_provider_refuses_stops_a_run(code: str) -> None:
    """The region on Cloudflare R2, and the path style on Tencent COS and Alibaba OSS."""
    assert stops(*[failed(code)] * 3)


def test_expired_objects_count_as_well() -> None:
    assert stops(*[failed("ExpiredToken", "expired")] * 3)


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied", "EtagMismatch", "InvalidObjectState"])
def test_a_cause_of_single_objects_stops_nothing(code: str) -> None:
    assert not stops(*[failed(code)] * 100)


def test_a_run_that_is_denied_from_its_start_stops() -> None:
    denied = [failed("AccessDenied")] * FIRST_DENIED
    assert stops(*denied)
    assert not stops(*denied[1:])
    assert not stops(*denied[1:], DONE, *denied)
    assert not stops(failed("NoSuchKey"), *denied)
    lenient = CircuitBreaker(stops_denied=False)
    for outcome in denied:
        lenient.record([outcome])


def test_what_every_object_would_meet_stops_at_once() -> None:
    with pytest.raises(BreakerError, match="403 Proxy, so the run ends"):
        CircuitBreaker().record([failed("Proxy")])


def test_the_message_has_the_number_the_cause_and_the_last_failure() -> None:
    breaker = CircuitBreaker(failures=1)
    said = "stopped: the last 1 objects all failed with InvalidAccessKeyId: 403 InvalidAccessKeyId"
    with pytest.raises(BreakerError, match=said):
        breaker.record([failed("InvalidAccessKeyId")])
