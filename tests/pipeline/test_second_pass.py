"""The second run of a copy, after objects changed at the source: what it copies again, and what it says of the rest."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.copies import ProxiedSides, Sides, only
from tests.servers.proxy import Seen
from tests.support.checksums import composite_etag, cut

MIB = 1 << 20
KMS = b"x-amz-server-side-encryption: aws:kms\r\n"
BEFORE, AFTER = (bytes([number]) * 11 * MIB for number in range(2))
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
    assert (report.done, report.skipped, report.skipped_by) == (2, 1, None), sides.outcomes
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


def without_checksum(head: bytes, *more: bytes) -> bytes:
    """The head of a response, without the checksum of its object, and with `more` headers."""
    return b"".join([re.sub(rb"(?im)^x-amz-checksum-.*\r\n", b"", head)[:-2], *more, b"\r\n"])


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
        return without_checksum(head), body

    proxied.proxy.alter = replacing
    report = proxied.copy(relay=True)
    assert (report.failed, report.retries) == (1, 0)
    (outcome,) = proxied.outcomes
    assert outcome.code == "ObjectChanged"
    assert "it was replaced since; run this again" in str(outcome.message)
    assert proxied.copy(relay=True).done == 1


def in_parts(sides: Sides, body: bytes, part_size: int = 8 * MIB) -> str:
    """Stores the object `a` of the source in parts. Returns its etag."""
    return sides.upload_in_parts("a", cut(body, part_size))


def whole(sides: Sides, body: bytes) -> str:
    """The same, in one request."""
    sides.upload({"a": body})
    return str(sides.get.head_object(Bucket=sides.source, Key="a")["ETag"]).strip('"')


@pytest.mark.parametrize(
    ("store", "replace", "relay"),
    [
        (in_parts, in_parts, True),
        (in_parts, in_parts, False),
        (in_parts, whole, True),
        (in_parts, whole, False),
        (whole, in_parts, True),
    ],
)
def test_an_object_in_parts_that_is_replaced_is_not_copied(
    store: Callable[[Sides, bytes], str], replace: Callable[[Sides, bytes], str], relay: bool, proxied: ProxiedSides
) -> None:
    """Its size is the same. The etags name their parts, so only the bytes can tell that it is another object."""
    listed = store(proxied, BEFORE)
    found: list[str] = []

    def replacing(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        if seen.target.startswith(f"/{proxied.source}?") and not found:
            found.append(replace(proxied, AFTER))
        return without_checksum(head), body

    proxied.proxy.alter = replacing
    report = proxied.copy(relay=relay)
    assert (report.done, report.failed, report.retries) == (0, 1, 0)
    (outcome,) = proxied.outcomes
    assert outcome.code == "ObjectChanged"
    assert f"has the etag {found[0]}, its row or listing {listed}: it was replaced" in str(outcome.message)
    assert proxied.copied() == {}
    assert proxied.copy(relay=relay).done == 1
    assert proxied.copied() == {"a": AFTER}


@pytest.mark.parametrize("size", [11, 300_000])
def test_an_object_under_a_key_of_kms_that_is_replaced_is_not_copied(size: int, proxied: ProxiedSides) -> None:
    """Its etags look like md5s, and are none."""
    proxied.upload({"a": BEFORE[:size]})

    def replacing(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        if seen.target.startswith(f"/{proxied.source}?"):
            proxied.upload({"a": AFTER[:size]})
        return without_checksum(head, *([KMS] if seen.method == "GET" and "/a?" in seen.target else [])), body

    proxied.proxy.alter = replacing
    report = proxied.copy(relay=True)
    assert (report.done, report.failed, report.retries) == (0, 1, 0)
    assert [outcome.code for outcome in proxied.outcomes] == ["ObjectChanged"]
    assert proxied.copied() == {}
    assert proxied.copy(relay=True).done == 1


@pytest.mark.parametrize("has_kms", [False, True])
@pytest.mark.parametrize("is_whole", [True, False])
def test_an_object_with_another_etag_than_its_row_is_copied_where_its_bytes_prove_that(
    is_whole: bool, has_kms: bool, proxied: ProxiedSides, tmp_path: Path
) -> None:
    """The list is that of another bucket, where the same object is in other parts, or not encrypted by KMS."""
    body = bytes(range(256)) * (11 * MIB // 256)
    found = whole(proxied, body) if is_whole else in_parts(proxied, body, 6 * MIB)
    listed = composite_etag(body, 8 * MIB)
    assert listed != found

    def encrypted(seen: Seen, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        return without_checksum(head, *([KMS] if has_kms and seen.method == "GET" else [])), body

    proxied.proxy.alter = encrypted
    rows = tmp_path / "rows.csv"
    rows.write_text(f"key,size,etag\na,{len(body)},{listed}\n")
    report = proxied.copy(str(rows), bucket=proxied.source, relay=True)
    assert (report.done, report.unproven, report.retries) == (1, 0, 0)
    assert proxied.verified_by == ["md5-parts"]
    assert proxied.copied() == {"a": body}
