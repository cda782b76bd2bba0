"""The progress of a run, in its own process and terminal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy, expired
from tests.servers.server import S3Server
from tests.support.cli import BULKPRESIGN, CREDENTIALS, run
from tests.support.folders import files
from tests.support.links import links, many

COUNT = 60


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {f"/{n}": b"x" * 1000 for n in range(COUNT)}
        yield proxy


@pytest.fixture
def folder(origin: FaultProxy, tmp_path: Path) -> Path:
    links(tmp_path / "l.csv", many(origin, COUNT, size="1000"))
    return tmp_path


def rows(said: str) -> list[dict[str, object]]:
    """Every line of it as the JSON object that it has to be."""
    return [json.loads(line) for line in said.splitlines()]


class Screen:
    """A run in a terminal of so many columns."""

    def __init__(self, folder: Path, *arguments: str, columns: int) -> None:
        self.said = ""
        self._terminal, slave = pty.openpty()
        self.resize(columns)
        command = [*BULKPRESIGN, *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            command, cwd=folder, stderr=slave, env={**environment, "PYTHONIOENCODING": "utf-8"}
        )
        os.close(slave)

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self) -> bool:
        """Reads what is there; false at the end."""
        if select.select([self._terminal], [], [], 0.05)[0]:
            try:
                self.said += os.read(self._terminal, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                return False
        return True

    def wait_for(self, words: str) -> None:
        until = time.monotonic() + 60
        while words not in self.said:
            assert time.monotonic() < until, self.said[-300:]
            assert self.read(), self.said[-300:]

    def drain(self) -> str:
        """Its output since the last call."""
        self.read()
        said, self.said = self.said, ""
        return said

    def close(self) -> int:
        while self.read():
            pass
        os.close(self._terminal)
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)


def widest(said: str) -> int:
    return max(len(line) for line in re.split(r"[\r\n]", said))


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_a_bar_fits_its_terminal(columns: int, origin: FaultProxy, folder: Path) -> None:
    origin.faults.extend([Fault(delay=0.1)] * COUNT)
    screen = Screen(folder, "get", "l.csv", "--to", "to", "--concurrency", "4", columns=columns)
    assert screen.close() == 0
    bar = screen.said.split("get: 60 done;")[0]
    assert "get: 100%" in bar
    assert widest(bar) < columns
    if columns == 200:
        assert "58.6 KiB/58.6 KiB" in bar
        assert "60/60 objects" in bar


def test_a_bar_follows_its_terminal_and_the_clock_moves_where_nothing_comes(origin: FaultProxy, folder: Path) -> None:
    origin.faults.extend([None] * 10)
    origin.always = Fault(hold_after=10)
    screen = Screen(folder, "get", "l.csv", "--to", "to", "--concurrency", "2", columns=100)
    try:
        screen.wait_for("waiting for the server, 6 s")
        screen.resize(40)
        screen.wait_for("get:  16% waiting, ")
        screen.drain()
        for _ in range(10):
            assert widest(screen.drain()) < 40
    finally:
        screen.kill()


def test_a_stopped_terminal_stops_no_run(origin: FaultProxy, folder: Path) -> None:
    """Nobody reads: what is shown fills the terminal, and the objects come all the same."""
    links(folder / "l.csv", many(origin, COUNT))
    screen = Screen(folder, "get", "l.csv", "--to", "to", "--progress", "json", columns=80)
    try:
        until = time.monotonic() + 60
        while len(files(folder / "to") if (folder / "to").exists() else {}) < COUNT:
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        screen.kill()


def test_a_reader_that_leaves_ends_nothing(origin: FaultProxy, folder: Path) -> None:
    origin.faults.extend([Fault(delay=0.2)] * COUNT)  # it leaves in the middle
    line = " ".join(BULKPRESIGN) + " get l.csv --to {} --progress json --concurrency 4 {}; echo ${{PIPESTATUS[0]}}"
    for to, where in (("a", "2>&1 | head -1"), ("b", "2>/dev/full"), ("c", "2>&-")):
        done = subprocess.run(["bash", "-c", line.format(to, where)], cwd=folder, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "0", done
        assert len(files(folder / to)) == COUNT
    links(folder / "none.csv", many(origin, COUNT + 1, size="1000"))
    done = subprocess.run(
        ["bash", "-c", line.format("d", "-v 2>/dev/full").replace("l.csv", "none.csv")],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1\n"


def test_each_line_is_json_however_it_ends(origin: FaultProxy, folder: Path) -> None:
    def said(*arguments: str, code: int) -> list[dict[str, object]]:
        done = run(*arguments, "--progress", "json", folder=folder)
        assert done.returncode == code, done.stderr
        return rows(done.stderr)

    (refused,) = said("get", "l.csv", code=2)
    assert datetime.now(UTC) - datetime.fromisoformat(str(refused.pop("time"))) < timedelta(hours=1)
    assert refused == {"event": "message", "level": "error", "message": "Missing option '--to'."}
    assert said("get", "none.csv", "--to", "to", code=2)[0]["message"] == "none.csv: no such file"
    origin.faults.append(Fault(500))
    retried = said("get", "l.csv", "--to", "to", "-v", code=0)
    assert [row["event"] for row in retried if row["event"] != "progress"] == ["retry", "finished"]
    assert str(retried[-1]["message"]).startswith("get: 60 done, 1 retry; ")
    again = said("get", "l.csv", "--to", "to", code=0)[-1]
    assert (again["done"], again["skipped"], again["bytes"], again["total_bytes"]) == (0, 60, 0, 60_000)
    links(folder / "over.csv", many(origin, 1, expires_at="2020-01-01T00:00:00Z"))
    origin.always = expired()
    over = said("get", "over.csv", "--to", "over", code=3)
    origin.always = None
    assert [row["event"] for row in over] == ["progress", "expired", "message", "finished"]
    (folder / "keys.csv").write_text("bucket,key\nbkt,a\n")
    assert said("sign", "keys.csv", "-o", "s.csv", code=0)[-1]["links"] == 1
    assert said("post", "keys.csv", "-o", "p.csv", code=0)[-1]["forms"] == 1
    assert said("sign", "nothing.csv", code=2)[-1]["level"] == "error"
    (folder / "empty.csv").write_text("bucket,key\n")
    assert {row.get("message") for row in said("get", "empty.csv", "--to", "x", code=0)} >= {
        "there were no rows: nothing to do"
    }
    links(folder / "m.csv", [{"path": "d/0", "size": "1000", "key": "k", "bucket": "bkt"}])
    found = said("verify", "m.csv", "--in", "to", code=1)
    assert {row["event"] for row in found} == {"progress", "extra", "unproven", "message", "finished"}
    assert (found[-1]["verified"], found[-1]["extra"], found[-1]["exit_code"]) == (0, 59, 1)
    found = said("get", "l.csv", "--to", "dry", "--dry-run", code=0)
    assert str(found[-1]["message"]).startswith("get: 60 to do")


def test_a_bucket_has_a_total_once_its_listing_ends(
    seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    bucket = make_bucket(seaweedfs)
    for n in range(9):
        boto(seaweedfs).put_object(Bucket=bucket, Key=f"d/{n}", Body=b"x" * 100)
    words = ("get", f"s3://{bucket}/d/", "--to", "to", "--progress", "json")
    for done, skipped, limit in ((4, 0, ("--limit", "4")), (5, 4, ())):
        ended = run(*words, *limit, folder=tmp_path, env=seaweedfs.environment)
        last = rows(ended.stderr)[-1]
        assert (last["done"], last["skipped"]) == (done, skipped)
        assert (last["total_objects"], last["total_bytes"]) == (done + skipped, 100 * (done + skipped))


def test_signing_shows_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "keys.csv").write_text("bucket,key\n" + "".join(f"bkt,{n}\n" for n in range(20_000)))
    for verb, noun in (("sign", "links"), ("post", "forms")):
        done = run(verb, "keys.csv", "-o", "out.csv", "--progress", "json", folder=tmp_path)
        shown = rows(done.stderr)
        assert [row["done"] for row in shown if row["event"] == "progress"][-1] == 20_000
        done = run(verb, "keys.csv", "-o", "out.csv", "--progress", "on", folder=tmp_path)
        assert f"{verb}: 20,000 {noun}, " in done.stderr
        assert done.stderr.endswith(f"{verb}: 20,000 {noun} in out.csv\n")
        assert run(verb, "keys.csv", "-o", "out.csv", "-q", folder=tmp_path).stderr == ""


def test_every_verb_takes_progress(tmp_path: Path) -> None:
    for verb in ("sign", "post", "get", "put", "abort", "verify"):
        done = run(verb, "--help", folder=tmp_path)
        assert "--progress auto|on|off|json" in done.stdout


def test_nohup_stays_nohup(origin: FaultProxy, folder: Path) -> None:
    origin.always = Fault(delay=0.1)
    command = ["nohup", *BULKPRESIGN, "get", "l.csv", "--to", "to", "--concurrency", "4"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while origin.count < 8:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert len(files(folder / "to")) == COUNT


def test_a_terminal_that_is_closed_ends_the_run_in_order(origin: FaultProxy, folder: Path) -> None:
    """It is the terminal of the run's session, so that the kernel sends SIGHUP, and messages have nowhere to go."""
    origin.faults.extend([None] * 8)
    origin.always = Fault(hold_after=100)
    command = [*BULKPRESIGN, "get", "l.csv", "--to", "to", "--concurrency", "4", "--failures", "f.csv"]
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execv(command[0], command)
    while origin.count < 12:
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.02)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 129
    assert len((folder / "f.csv").read_text().splitlines()) == 1 + COUNT - 8
    assert {path.name for path in folder.iterdir()} == {"l.csv", "to", "f.csv", "to.journal"}


def test_what_was_skipped_is_said_apart(origin: FaultProxy, folder: Path) -> None:
    env = CREDENTIALS
    assert run("get", "l.csv", "--to", "to", "--limit", "20", folder=folder, env=env).returncode == 0
    done = run("get", "l.csv", "--to", "to", "--progress", "json", folder=folder, env=env)
    last = rows(done.stderr)[-1]
    assert (last["done"], last["skipped"], last["objects"], last["bytes"]) == (40, 20, 60, 40_000)
    assert last["rows"] == 60
    for n in range(30):
        (folder / f"to/d/{n}").unlink()
    done = run("get", "l.csv", "--to", "to", "--progress", "on", folder=folder, env={**env, "COLUMNS": "120"})
    bar = done.stderr.split("\n")[0].split("\r")[-1]
    assert bar.startswith("get: 100%|")
    for words in ("29.3 KiB/29.3 KiB", "30/30 objects", "30 skipped"):
        assert words in bar
