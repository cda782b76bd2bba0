"""Certificates of copies: the root of what is at the destination, with as few reads as can be."""

import asyncio
import random
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import bulkpresign as bp
from bulkpresign.errors import BreakerError, OutputError, ParameterError
from bulkpresign.events import ReadBackFailed, RunFinished
from bulkpresign.pipeline.verification.digests import ReadPlan
from bulkpresign.proof.certificate import CertificateReader
from bulkpresign.transfer.engine.breaker import BREAKER_FAILURES
from tests.pipeline.copies import ProxiedSides, Sides, only
from tests.servers.proxy import Fault, FaultProxy, Seen
from tests.support.sides import configure

MIB = 1 << 20
RANDOM = random.Random(15)
BODIES = {
    "empty": b"",
    "a b+c": b"1",
    "d/small": RANDOM.randbytes(4096),
    "d-streamed": RANDOM.randbytes(300_000),
    "käse/🧀": RANDOM.randbytes(2 * MIB + 1),
}
PARTS = [RANDOM.randbytes(5 * MIB), RANDOM.randbytes(5 * MIB), b"end"]
IN_PARTS = sum(map(len, PARTS))


def certified(sides: Sides, to: str = "to/", **settings: Any) -> tuple[bp.Report, list[ReadPlan]]:
    """Copies with a certificate; the report, and what was announced."""
    plans: list[ReadPlan] = []
    return sides.copy(to=to, certificate="c.jsonl", announce=plans.append, **settings), plans


def roots(sides: Sides, prefix: str = "to/", algorithm: str = "sha256") -> set[str]:
    """Those of both sides as `write_certificate` finds them, and that of the certificate of the copy."""
    found = {CertificateReader("c.jsonl").certificate.root}
    for profile, uri in (("source", f"s3://{sides.source}/"), ("destination", f"s3://{sides.destination}/{prefix}")):
        made = asyncio.run(bp.write_certificate(uri, "other.jsonl", algorithm=algorithm, profile_name=profile))
        assert made.certificate is not None
        found.add(made.certificate.root)
    return found


@pytest.mark.parametrize("algorithm", ["sha256", "md5", "crc64nvme"])
def test_what_passes_here_is_not_read_again(sides: Sides, algorithm: str) -> None:
    sides.upload(BODIES)
    sides.upload_in_parts("parts", PARTS)
    report, plans = certified(sides, algorithm=algorithm)
    assert plans == [ReadPlan(1, IN_PARTS)]
    assert (report.done, report.failed) == (len(BODIES) + 1, 0)
    assert report.certificate is not None
    assert (report.certificate.objects, report.certificate.bytes) == (report.done, report.bytes)
    assert {report.certificate.root} == roots(sides, algorithm=algorithm)
    rows = {row.key: row.size for row in CertificateReader("c.jsonl").rows()}
    assert rows == {key: len(body) for key, body in BODIES.items()} | {"parts": IN_PARTS}


@only("seaweedfs-ceph")
def test_earlier_runs_and_what_is_there(sides: Sides) -> None:
    """The journal has the digests of an earlier run with a certificate. Without it all is read."""
    sides.upload(BODIES)
    sides.upload_in_parts("parts", PARTS)
    everything = ReadPlan(len(BODIES) + 1, sum(map(len, BODIES.values())) + IN_PARTS)
    assert sides.copy(to="to/").done == len(BODIES) + 1
    for is_new, plan in ((False, everything), (True, everything)):
        if is_new:
            Path(f"{sides.destination}.copy.journal").unlink()
        report, plans = certified(sides)
        assert (report.skipped, plans, len(roots(sides))) == (len(BODIES) + 1, [plan], 1)
    assert certified(sides, to="other/", journal="other")[0].done == len(BODIES) + 1
    report, plans = certified(sides, to="other/", journal="other")
    assert (report.done, plans, len(roots(sides, "other/"))) == (0, [ReadPlan(1, IN_PARTS)], 1)
    report, plans = certified(sides, to="other/", journal="other", algorithm="crc64nvme")
    assert (report.done, plans, len(roots(sides, "other/", "crc64nvme"))) == (0, [everything], 1)
    sides.upload({"d/small": b"new"})
    assert certified(sides, to="other/", journal="other")[0].done == 1
    assert len(roots(sides, "other/")) == 1


@only("seaweedfs-ceph")
def test_rows_of_a_table_that_are_all_done(sides: Sides) -> None:
    """Nothing is left to do for links, as their rows tell before the run."""
    sides.upload(BODIES)
    asyncio.run(bp.sign(f"s3://{sides.source}/", "links.csv", profile_name="source"))
    assert certified(sides, source="links.csv")[0].done == len(BODIES)
    report, plans = certified(sides, source="links.csv")
    assert (report.skipped, plans, len(roots(sides))) == (len(BODIES), [], 1)


@only("ceph-seaweedfs")
def test_rewritten_and_kept_keys(sides: Sides) -> None:
    """Rows have the keys and bytes of the destination, also of an object that was kept and differs from the source."""
    sides.upload({"a/x": b"1", "a/y": b"2"})
    sides.store({"to/b/y": b"kept"})
    report, plans = certified(sides, maps=["a/=b/"], if_exists="keep")
    assert (report.done, report.skipped, plans) == (1, 1, [ReadPlan(1, 4)])
    rows = list(CertificateReader("c.jsonl").rows())
    assert [(row.key, row.size, row.digest) for row in rows] == [
        ("b/x", 1, sha256(b"1").digest()),
        ("b/y", 4, sha256(b"kept").digest()),
    ]
    found = asyncio.run(bp.verify_certificate(f"s3://{sides.destination}/to/", "c.jsonl", profile_name="destination"))
    assert (found.verified, found.different, found.missing, found.extra) == (2, 0, 0, 0)


@only("seaweedfs-ceph")
def test_no_certificate_where_an_object_failed(sides: Sides) -> None:
    """A file that has the name of the certificate is not changed."""
    sides.upload({"there": b"1"})
    sides.upload_in_parts("parts", PARTS)
    Path("c.jsonl").write_text("before")
    Path("keys.csv").write_text(f"bucket,key\n{sides.source},there\n{sides.source},gone\n{sides.source},parts\n")
    report, plans = certified(sides, source="keys.csv")
    assert (report.done, report.failed, report.certificate, plans) == (2, 1, None, [])
    assert Path("c.jsonl").read_text() == "before"


@only("seaweedfs-ceph")
def test_a_copy_that_can_not_be_read_is_a_copy(sides: Sides, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source, destination = sides.source_server, sides.destination_server
    sides.upload(BODIES)
    sides.upload_in_parts("parts", PARTS)
    with FaultProxy(destination.endpoint_url) as proxy:
        configure(monkeypatch, tmp_path, source, replace(destination, endpoint_url=proxy.url))
        proxy.schedule = lambda seen: _fault("AccessDenied") if _is_object(seen) else None
        report, plans = certified(sides)
        assert (report.done, report.failed, report.uncertified) == (len(BODIES) + 1, 0, 1)
        assert (report.certificate, plans) == (None, [ReadPlan(1, IN_PARTS)])
        assert [outcome.status for outcome in sides.outcomes] == ["done"] * (len(BODIES) + 1)
        (outcome,) = [event.outcome for event in sides.events if isinstance(event, ReadBackFailed)]
        assert (outcome.object.uri, outcome.code) == (f"s3://{sides.destination}/to/parts", "AccessDenied")
        assert not Path("c.jsonl").exists()
        proxy.schedule = lambda _: None
        report, plans = certified(sides)  # the journal has all copies, and the digests of all others
        assert (report.done, report.skipped, report.uncertified) == (0, len(BODIES) + 1, 0)
        assert (plans, len(roots(sides))) == ([ReadPlan(1, IN_PARTS)], 1)


@only("seaweedfs-ceph")
def test_a_copy_that_is_removed_before_it_is_read(sides: Sides) -> None:
    """The next run copies it again."""
    sides.upload({"there": b"1"})
    sides.upload_in_parts("parts", PARTS)
    where = {"Bucket": sides.destination, "Key": "to/parts"}
    report = sides.copy(to="to/", certificate="c.jsonl", announce=lambda _: sides.put.delete_object(**where))
    assert (report.done, report.failed, report.uncertified, report.certificate) == (2, 0, 1, None)
    report, plans = certified(sides)
    assert (report.done, report.skipped, report.uncertified) == (1, 1, 0)
    assert (plans, len(roots(sides))) == ([ReadPlan(1, IN_PARTS)], 1)


def test_copies_none_of_which_can_be_read(proxied: ProxiedSides) -> None:
    proxied.upload({f"{n}": b"1" for n in range(BREAKER_FAILURES)})
    proxied.proxy.schedule = lambda seen: _fault("SignatureDoesNotMatch") if _is_object(seen) else None
    with pytest.raises(BreakerError, match="the copies can't be read for the certificate: stopped: the last 50 "):
        certified(proxied)  # copied by the server
    reports = [event.report for event in proxied.events if isinstance(event, RunFinished)]
    assert [(report.done, report.failed, report.uncertified) for report in reports] == [
        (BREAKER_FAILURES, 0, BREAKER_FAILURES)
    ]


@only("seaweedfs-ceph")
def test_a_digest_of_bytes_that_came_in_two_attempts(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, destination = sides.source_server, sides.destination_server
    sides.upload(BODIES)
    cut = {key: Fault(cut_after=len(body) // 2) for key, body in BODIES.items() if len(body) > 1}
    with FaultProxy(source.endpoint_url) as proxy:
        configure(monkeypatch, tmp_path, replace(source, endpoint_url=proxy.url), destination)
        proxy.schedule = lambda seen: cut.pop(_key(seen), None) if _is_object(seen) else None
        report, plans = certified(sides)
    assert (report.done, report.retries, cut, plans) == (len(BODIES), 3, {}, [])
    configure(monkeypatch, tmp_path, source, destination)
    assert len(roots(sides)) == 1


def _fault(code: str) -> Fault:
    return Fault(status=403, body=f"<Error><Code>{code}</Code></Error>".encode())


def _is_object(seen: Seen) -> bool:
    return seen.method == "GET" and "list-type" not in seen.target


def _key(seen: Seen) -> str:
    return unquote(seen.target.partition("?")[0]).split("/", 2)[2]


@only("seaweedfs-seaweedfs", "ceph-ceph")
def test_copies_by_the_server_are_read(sides: Sides) -> None:
    sides.upload(BODIES)
    report, plans = certified(sides, destination_profile_name="source")
    assert (report.done, plans) == (len(BODIES), [ReadPlan(len(BODIES), report.bytes)])
    assert len(roots(sides)) == 1


def without_etags(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The response as of a server without checksums. One to a PUT has no etag: some gateways remove it."""
    removed = b"etag|x-amz-checksum-[^:]*" if seen.method == "PUT" else b"x-amz-checksum-[^:]*"
    return re.sub(rb"(?im)^(" + removed + rb"):.*\r\n", b"", head), body


def test_copies_that_nothing_proves_are_read(proxied: ProxiedSides) -> None:
    """Also by a later run, whose journal has the digests of what was sent."""
    proxied.upload(BODIES)
    proxied.proxy.alter = without_etags
    report, plans = certified(proxied, relay=True)
    everything = ReadPlan(len(BODIES) - 1, sum(map(len, BODIES.values())))  # the size proves an empty object
    assert (report.done, report.unproven, plans) == (len(BODIES), len(BODIES) - 1, [everything])
    report, plans = certified(proxied, relay=True)
    assert (report.skipped, plans) == (len(BODIES), [everything])
    rows = {row.key: row.digest for row in CertificateReader("c.jsonl").rows()}
    assert rows == {key: sha256(body).digest() for key, body in BODIES.items()}


def test_a_copy_with_other_bytes_than_were_sent_is_not_certified(proxied: ProxiedSides) -> None:
    proxied.upload({"a": b"1", "b": b"2" * 300_000})
    proxied.proxy.alter = without_etags
    proxied.proxy.schedule = lambda seen: Fault(flip_request=True) if seen.method == "PUT" else None
    report, _ = certified(proxied, relay=True)
    assert (report.done, report.uncertified, report.certificate) == (2, 2, None)
    failed = [event.outcome for event in proxied.events if isinstance(event, ReadBackFailed)]
    assert [outcome.code for outcome in failed] == ["ChecksumMismatch"] * 2
    assert not Path("c.jsonl").exists()


@only("seaweedfs-ceph")
def test_what_can_not_be_certified(sides: Sides) -> None:
    """Before anything is sent."""
    sides.upload({"a": b"1"})
    settings: dict[str, Any]
    for settings in ({"limit": 1}, {"dry_run": True}):
        with pytest.raises(ParameterError, match="a certificate is of all copies"):
            certified(sides, **settings)
    with pytest.raises(ParameterError, match="a certificate is of all copies"):
        asyncio.run(bp.copy("links.csv", certificate="c.jsonl"))
    with pytest.raises(ParameterError, match="algorithm 'sha512' is not one of"):
        certified(sides, algorithm="sha512")
    with pytest.raises(OutputError, match=r"no/c\.jsonl can't be written"):
        sides.copy(certificate="no/c.jsonl")
    Path("keys.csv").write_text(f"bucket,key\n{sides.source},a\n")
    with pytest.raises(ParameterError, match=r"--certificate keys\.csv is the table keys\.csv"):
        sides.copy("keys.csv", certificate="keys.csv")
    assert sides.copied() == {}
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["aws-config", "keys.csv"]
