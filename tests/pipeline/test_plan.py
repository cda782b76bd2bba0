"""The plan of a copy: its requests are those that the run sends, and its costs follow from them."""

from collections import Counter
from pathlib import Path

import pytest

from bulkpresign.cli.plan import plan_lines
from bulkpresign.model import Plan
from tests.pipeline.copies import ProxiedSides
from tests.servers.proxy import Seen
from tests.support.tables import table

MIB = 1 << 20


def kind(seen: Seen) -> str:
    """The kind of a request, as its provider charges it."""
    if "list-type=2" in seen.target:
        return "LIST"
    return "COPY" if seen.header("x-amz-copy-source") else seen.method


@pytest.mark.parametrize("relay", [False, True])
def test_its_requests_are_those_that_the_run_sends(relay: bool, proxied: ProxiedSides) -> None:
    proxied.upload({"a": b"", "b": b"1" * 1000, "there": b"x", "c": bytes(300_000)})
    proxied.store({"there": b"x"})
    proxied.upload_in_parts("parts", [bytes(6 * MIB), bytes(6 * MIB), bytes(7)])
    plan = proxied.copy(relay=relay, dry_run=True).plan
    since = proxied.proxy.count
    assert proxied.copy(relay=relay).done == 4
    sent = Counter(map(kind, proxied.proxy.seen[since:]))
    assert plan is not None
    assert plan.requests == dict(sent)
    assert plan.bytes_out == (12 * MIB + 7 + 301_000 if relay else 0)


@pytest.mark.parametrize("relay", [False, True])
def test_parts_that_would_be_too_many_are_larger(relay: bool, proxied: ProxiedSides, tmp_path: Path) -> None:
    """S3 takes 10,000 parts: those of 1 TiB have 105 MiB or more."""
    table(tmp_path / "keys.csv", [{"bucket": proxied.source, "key": "large", "size": 1 << 40}])
    plan = proxied.copy("keys.csv", relay=relay, dry_run=True, part_size=5 * MIB).plan
    assert plan is not None
    assert plan.requests["PUT" if relay else "COPY"] == 9987


def test_objects_of_unknown_size_are_in_no_class_of_sizes(proxied: ProxiedSides, tmp_path: Path) -> None:
    rows = [{"bucket": proxied.source, "key": f"{n}", "size": size} for n, size in enumerate(("", "", "7"))]
    table(tmp_path / "keys.csv", rows)
    report = proxied.copy("keys.csv", relay=True, dry_run=True)
    assert report.plan is not None
    assert (report.plan.unsized, [(each.objects, each.bytes) for each in report.plan.sizes]) == (2, [(1, 7)])
    said = "size unknown: 2 objects, planned as small; large ones take more requests"
    assert said in plan_lines(report, None, {})


def test_costs() -> None:
    plan = Plan(
        requests={"GET": 2000, "PUT": 500, "LIST": 2},
        bytes_out=3 << 30,
        in_parts=0,
        unsized=0,
        largest=[],
        sizes=[],
        skipped={},
    )
    assert plan.costs({"GET": 0.5, "PUT": 1, "POST": 7, "GiB": 0.1}) == pytest.approx(
        {"GET": 1.0, "PUT": 0.5, "GiB": 0.3}
    )
    assert plan.costs({"GB": 1}) == pytest.approx({"GB": (3 << 30) / 1e9})
    assert plan.costs({}) == {}
