"""The second run of a copy, after objects changed at the source: what it copies again, and what it says of the rest."""

import re
from pathlib import Path

import pytest

from tests.pipeline.copies import ProxiedSides, Sides, only
from tests.servers.proxy import Seen

#: rclone knows no conditions.
PAIRS = only("seaweedfs-ceph", "ceph-seaweedfs", "rclone-seaweedfs")


@pytest.fixture
def keys(tmp_path: Path) -> str:
    file = tmp_path / "keys.txt"
    file.write_text("same\nlonger\nother\n")
    return str(file)


@PAIRS
def test_a_list_of_keys_does_not_tell_that_objects_changed(sides: Sides, keys: str) -> None:
    """Without a question to the source, only the journal knows of them, and the report says so."""
    sides.upload({"same": b"1", "longer": b"2", "other": b"3"})
    assert sides.copy(keys, bucket=sides.source).done == 3
    sides.upload({"longer": b"22", "other": b"4"})
    report = sides.copy(keys, bucket=sides.source)
    assert (report.done, report.skipped, report.skipped_by) == (0, 3, f"{sides.destination}.copy.journal")
    report = sides.copy(keys, bucket=sides.source, recheck=True)
    assert (report.done, report.skipped, report.skipped_by) == (2, 1, None)
    assert sides.copied() == {"same": b"1", "longer": b"22", "other": b"4"}


@PAIRS
def test_a_listing_tells_that_objects_changed(sides: Sides) -> None:
    sides.upload({"same": b"1", "longer": b"2", "other": b"3"})
    assert sides.copy().done == 3
    sides.upload({"longer": b"22", "other": b"4"})
    report = sides.copy(recheck=True)
    assert (report.done, report.skipped, report.skipped_by) == (2, 1, None)


def test_a_recheck_asks_once_for_each_object(proxied: ProxiedSides, keys: str) -> None:
    """Those that are the same come in no byte, also where this is the first run."""
    proxied.upload({"same": b"1", "longer": b"2", "other": b"3"})
    proxied.store({"same": b"1", "longer": b"2", "other": b"4"})
    report = proxied.copy(keys, bucket=proxied.source, recheck=True, relay=True)
    assert (report.done, report.skipped) == (1, 2)
    asked = [seen for seen in proxied.proxy.seen if seen.method == "GET" and f"/{proxied.source}/" in seen.target]
    assert sorted(bool(seen.header("if-none-match")) for seen in asked) == [False, True, True, True]


def without_etag(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
    """The response, without its etag if it is one to a PUT."""
    return re.sub(rb"(?im)^etag:.*\r\n", b"", head) if seen.method == "PUT" else head, body


def test_a_change_is_seen_where_the_destination_answers_without_etags(proxied: ProxiedSides) -> None:
    """A proxy or a gateway can take the etag out of the response to a PUT."""
    proxied.proxy.alter = without_etag
    proxied.upload({"same": b"1", "other": b"2"})
    assert proxied.copy(relay=True).done == 2
    proxied.upload({"other": b"3"})
    report = proxied.copy(relay=True)
    assert (report.done, report.skipped) == (1, 1)
    assert proxied.copied() == {"same": b"1", "other": b"3"}


@pytest.mark.parametrize("after", [b"other bytes", b"longer than they were"])
@pytest.mark.parametrize("size", [1, 30_000])
def test_an_object_that_is_replaced_after_it_was_listed_fails_at_once(
    after: bytes, size: int, proxied: ProxiedSides
) -> None:
    """Its bytes are in order, and to read them again would give the same ones."""
    proxied.upload({"a": b"bytes so so" * size})

    def replacing(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        if seen.target.startswith(f"/{proxied.source}?"):
            proxied.upload({"a": after * size})
        return re.sub(rb"(?im)^x-amz-checksum-.*\r\n", b"", head), body

    proxied.proxy.alter = replacing
    report = proxied.copy(relay=True)
    assert (report.failed, report.retries) == (1, 0)
    (outcome,) = proxied.outcomes
    assert outcome.code == "ObjectChanged"
    assert "it was replaced since; run this again" in str(outcome.message)
    assert proxied.copy(relay=True).done == 1
