"""Files that exist under an object's name: which of them are the object, and what the server is asked."""

import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bulkpresign.model import Evidence, ObjectRef
from bulkpresign.transfer.disk.folder import Folder
from bulkpresign.transfer.downloads.existing import DIFFERS, ExistingFile, check_existing
from tests.transfer.parts import crc64

BODY = b"the body of an object"
MD5 = hashlib.md5(BODY).hexdigest()


def checked(
    folder: Path,
    ref: ObjectRef,
    evidence: Evidence | None = None,
    *,
    keeps: bool = False,
    rechecks: bool = False,
    meanwhile: Callable[[Path], object] = lambda _: None,
) -> ExistingFile:
    """The result for the file `a`. `meanwhile` is called with its path once it was found."""
    with Folder(folder).target("a") as target:
        found = target.found()
        assert found is not None
        meanwhile(folder / "a")
        return asyncio.run(check_existing(ref, target, found, evidence, keeps=keeps, rechecks=rechecks))


def row(**known: object) -> ObjectRef:
    return msgspec.convert({"bucket": "b", "key": "a", **known}, ObjectRef)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(BODY)
    return tmp_path


def recorded(file: Path, etag: str = "multipart-3", **other: int) -> Evidence:
    state = file.stat()
    known = {"size": state.st_size, "mtime_ns": state.st_mtime_ns, "ctime_ns": state.st_ctime_ns} | other
    return Evidence(known["size"], known["mtime_ns"], known["ctime_ns"], etag)


@pytest.mark.parametrize("known", [{"checksum": crc64(BODY)}, {"etag": MD5}, {"checksum": crc64(BODY), "size": 21}])
def test_a_file_with_the_digest_of_its_row_needs_no_request(folder: Path, known: dict[str, object]) -> None:
    found = checked(folder, row(**known))
    assert (found.is_skipped, found.verified_by) == (True, "md5" if "etag" in known else "crc64nvme")
    assert found.evidence is not None
    assert (found.evidence.size, found.evidence.etag) == (len(BODY), known.get("etag"))


@pytest.mark.parametrize(
    ("known", "rechecks"),
    [({"checksum": crc64(BODY[::-1])}, False), ({"etag": MD5, "size": 22}, False), ({"size": 20}, True)],
)
def test_a_file_that_differs_from_its_row_is_replaced(folder: Path, known: dict[str, object], rechecks: bool) -> None:
    assert checked(folder, row(**known), rechecks=rechecks) is DIFFERS


@pytest.mark.parametrize(("known", "rechecks"), [({}, False), ({"size": 21}, False), ({"etag": "0" * 32}, True)])
def test_the_server_is_asked_by_the_md5_of_the_file(folder: Path, known: dict[str, object], rechecks: bool) -> None:
    found = checked(folder, row(**known), rechecks=rechecks)
    assert (found.is_skipped, found.condition) == (False, {"If-None-Match": f'"{MD5}"'})


def test_a_recheck_asks_by_the_etag_that_was_recorded_with_the_file(folder: Path) -> None:
    found = checked(folder, row(), recorded(folder / "a"), rechecks=True)
    assert (found.condition, found.verified_by) == ({"If-None-Match": '"multipart-3"'}, "etag")


@pytest.mark.parametrize("changed", [{"size": 20}, {"mtime_ns": 1}, {"ctime_ns": 1}, {"etag": "W/weak"}])
def test_a_recheck_does_not_rely_on_the_etag_of_another_state(folder: Path, changed: dict[str, int | str]) -> None:
    """Nor on a weak one, which other bytes may have."""
    found = checked(folder, row(), recorded(folder / "a", **changed), rechecks=True)  # type: ignore[arg-type]
    assert found.condition == {"If-None-Match": f'"{MD5}"'}


def test_a_file_that_can_not_be_read_is_replaced(folder: Path) -> None:
    assert checked(folder, row(etag=MD5), meanwhile=Path.unlink) is DIFFERS


def test_whatever_exists_can_be_kept(folder: Path) -> None:
    assert checked(folder, row(size=1), keeps=True) == ExistingFile(True, "there is a file of that name")
    (folder / "a").unlink()
    os.mkfifo(folder / "a")
    assert checked(folder, row(), keeps=True) == ExistingFile(True, "there is a link or device of that name")
    assert checked(folder, row()) is DIFFERS
