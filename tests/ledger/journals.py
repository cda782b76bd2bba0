"""Journals for the tests of figures and of the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bulkpresign.events import LoadMeasured
from bulkpresign.ledger.journal import Journal
from bulkpresign.model import ObjectRef, Outcome

START = 1_795_700_000
#: Keys and messages of strangers: markup, a long name without a space, right-to-left, control characters.
MARKUP = "<script>alert(1)</script><!-- & \"'"
AWKWARD = [MARKUP, "x" * 1000, "\u202ertl\x07", "\u043a\u043b\u044e\u0447 \U0001f5dd"]
SIGNATURE = "c0ffee" * 10


def journal(
    file: Path, outcomes: Sequence[tuple[float, Outcome]], moved: Mapping[int, int] | None = None, verb: str = "get"
) -> Path:
    """A journal of outcomes, each with its time."""
    with Journal(file, verb, "/srv/archive") as opened:
        opened.record([outcome for _, outcome in outcomes], [at for at, _ in outcomes], moved)
    return file


def of_all_kinds(file: Path) -> Path:
    """A journal of two runs with everything that a page shows."""
    outcomes = [(START + n, _outcome(n)) for n in range(200)]
    outcomes += [(START + 90_000 + n, _outcome(200 + n)) for n in range(100)]
    outcomes += [(START + 90_100, Outcome(ObjectRef("b", key, size=9), "done", 9, seconds=500)) for key in AWKWARD]
    journal(file, outcomes, {int(at): outcome.bytes for at, outcome in outcomes})
    with Journal(file, "get", "/srv/archive") as opened:
        opened.record_load(LoadMeasured(412, 398, "latency", 0.048))
    return file


def _outcome(n: int) -> Outcome:
    ref = ObjectRef("measurements", f"stations/{n:04}/series {n}.parquet", size=n**3)
    if n % 50 == 7:
        message = f"403 {MARKUP}\x1b https://host/{n}?X-Amz-Signature={SIGNATURE}"
        return Outcome(ref, "failed", 0, 5, code=["SlowDown", MARKUP, "x" * 90][n % 3], message=message)
    if n % 100 == 9:
        return Outcome(ref, "expired", attempts=0, code="LinkExpired", message="the link expired")
    name = ("crc64nvme", "md5", "md5-parts", "size", None)[n % 5]
    return Outcome(ref, "done", n**3, 1 + (n % 40 == 0), name, seconds=0.05 + n / 40)
