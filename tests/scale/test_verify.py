"""`verify` with workers: they hash files, and read objects through links."""

import asyncio
import hashlib
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import bulkpresign as bp
from bulkpresign.events import BytesMoved, Event
from bulkpresign.scale.verifying import verify_files
from tests.conftest import Boto, MakeBucket
from tests.scale.losing import Losing
from tests.scale.processes import workers_of
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.events import heard
from tests.support.folders import write_all
from tests.support.tables import table

COUNT = 700


class Calling(Losing):
    """An executor of the calling program, whose calls may be lost."""

    def __init__(self, losses: int = 0) -> None:
        super().__init__(lambda _: False)
        self.functions: list[Any] = []
        self._losses = losses

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        self.functions.append(fn)
        if len(self.functions) <= self._losses:
            return self._threads.submit(int, "lost")
        return self._threads.submit(fn, *args, **kwargs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files, one of them changed, one missing, one extra and one that nothing proves. One was uploaded in parts."""
    bodies = {f"d{n % 3}/{n}": f"file {n}".encode() * (n % 40) for n in range(COUNT)}
    rows = [
        {"bucket": "bucket", "key": key, "size": len(body), "etag": hashlib.md5(body).hexdigest(), "part_size": ""}
        for key, body in bodies.items()
    ]
    rows[8]["etag"] = ""
    digests = b"".join(hashlib.md5(part).digest() for part in [b"file 11" * 5, b"file 11" * 5, b"file 11"])
    rows[11] |= {"etag": f"{hashlib.md5(digests).hexdigest()}-3", "part_size": 35}
    table(tmp_path / "k.csv", rows)
    bodies["d1/7"] = b"FILE 7" * 7
    del bodies["d0/9"]
    write_all(tmp_path / "data", bodies | {"extra": b""})
    return tmp_path


def verify(
    folder: Path, events: list[Event] | None = None, **settings: Any
) -> tuple[Any, list[tuple[Any, ...]], list[str]]:
    events = [] if events is None else events
    outcomes, extras = list[bp.Outcome](), list[str]()
    given = {"listeners": [heard(outcomes), events.append], "extras": lambda path, _: extras.append(path), **settings}
    report = asyncio.run(bp.verify(folder / "k.csv", folder / "data", **given))
    return (
        report,
        sorted((it.object.uri, it.status, it.code, it.message, it.verified_by, it.bytes) for it in outcomes),
        extras,
    )


@pytest.mark.parametrize("accept_size", [False, True])
def test_the_same_as_in_threads(accept_size: bool, folder: Path) -> None:
    events, in_processes = list[Event](), list[Event]()
    one, outcomes, extras = verify(folder, events, accept_size=accept_size)
    two, in_workers, extras_too = verify(folder, in_processes, accept_size=accept_size, executor="processes:2")
    unproven = 0 if accept_size else 1
    assert (one.done, one.missing, one.failed, one.extra) == (COUNT - 2 - unproven, 1, 2 + unproven, 1)
    assert (one.unproven, one.by["md5-parts"]) == (unproven, 1)
    assert bytes_of(in_processes) == bytes_of(events) > 0
    assert in_workers == outcomes
    assert extras_too == extras == ["extra"]
    assert (two.done, two.bytes, two.by) == (one.done, one.bytes, one.by)
    assert workers_of(os.getpid()) == []


def bytes_of(events: list[Event]) -> int:
    return sum(event.count for event in events if isinstance(event, BytesMoved))


def test_an_executor_of_the_program_and_a_lost_worker(folder: Path) -> None:
    """The file by which workers show that they see this folder is not extra."""
    with (executor := Calling(losses=1)):
        report, _, extras = verify(folder, executor=executor)
    assert set(executor.functions) == {verify_files}
    assert (report.done, report.failed, extras) == (COUNT - 3, 3, ["extra"])


def test_links_whose_files_are_missing_are_in_the_failures_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    link = bp.Link("GET", "https://h/b/gone?X-Amz-Signature=1", {}, None, bp.ObjectRef("b", "gone", size=1))
    with Calling() as executor:
        asyncio.run(bp.verify([link], tmp_path / "data", executor=executor, failures=tmp_path / "f.csv"))
    assert link.url in (tmp_path / "f.csv").read_text()


def test_workers_with_another_folder_say_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkpresign.scale.verifying.marked", lambda _: nullcontext("mark:of another run"))
    with Calling() as executor, pytest.raises(bp.ParameterError, match="is not the folder of the run"):
        verify(folder, executor=executor)


def test_threads_and_workers_are_two_things(folder: Path) -> None:
    with pytest.raises(bp.ParameterError, match="concurrency is the number of threads"):
        verify(folder, executor="processes:2", concurrency=3)


def test_objects_of_two_sides_are_read_by_workers(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    first, second, client = make_bucket(seaweedfs), make_bucket(seaweedfs), boto(seaweedfs)
    for number in range(30):
        body = f"body{number % 10}".encode()
        client.put_object(Bucket=first, Key=f"{number}", Body=body)
        client.put_object(Bucket=second, Key=f"{number}", Body=b"other" if number == 7 else body)
    sides = [(bucket, f"{number}") for bucket in (first, second) for number in range(30)]
    keys = [{"bucket": bucket, "key": key, "size": 5, "path": key} for bucket, key in sides]
    table(tmp_path / "one.csv", keys[:30])
    table(tmp_path / "two.csv", keys[30:])
    given = ("verify", "one.csv", "two.csv", "--executor", "processes:2")
    done = run(*given, folder=tmp_path, env=seaweedfs.environment)
    assert done.returncode == 1, done.stderr
    assert "to read: 30 objects" in done.stderr
    assert "different: 7" in done.stderr
    assert "29 verified (29 by sha256), 1 different" in done.stderr


def test_certificates_are_written_here(tmp_path: Path) -> None:
    done = run("verify", "data", "--write-certificate", "c.jsonl", "--executor", "processes", folder=tmp_path, env={})
    assert done.returncode == 2
    assert "--executor is only for --in DIR and two sides" in done.stderr
