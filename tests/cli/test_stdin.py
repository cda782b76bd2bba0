"""Waiting for standard input and for named pipes."""

import hashlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

import pytest

from tests.support.cli import BULKPRESIGN, CREDENTIALS


def catches(pid: int, number: int) -> bool:
    """True once a process has a handler for a signal: before that, one that is sent simply ends it."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def waits_for_pipe(pid: int) -> bool:
    """True while a thread of a process waits for bytes in a pipe, or for the writer of one."""
    calls = [(task / "wchan").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return any("pipe_read" in call or call == "wait_for_partner" for call in calls)


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
VERBS = [
    *(["get", "-", "--to", "data"], ["sign", "-"], ["put", "-", "--from", "here"]),
    *(["verify", "-", "--in", "here"], ["abort", "-"]),
]


def stopped(folder: Path, arguments: list[str], number: int, stdin: IO[bytes] | int) -> int:
    """The exit code of a process that gets a signal once it hears signals."""
    with subprocess.Popen(
        [*BULKPRESIGN, *arguments], cwd=folder, stdin=stdin, stderr=subprocess.PIPE, env={**os.environ, **CREDENTIALS}
    ) as process:
        try:
            while not catches(process.pid, signal.SIGTERM):
                assert process.poll() is None
                time.sleep(0.02)
            deadline = time.monotonic() + 0.5  # for a kernel that does not tell
            while not waits_for_pipe(process.pid) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(number)
            process.wait(timeout=20)
        finally:
            process.kill()
        return process.returncode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("begun", [b"", b"url,method,key,bucket\n"], ids=["nothing", "header"])
def test_a_signal_is_heard_while_nothing_comes(
    folder: Path, verb: list[str], number: int, code: int, begun: bytes
) -> None:
    read, write = os.pipe()
    try:
        os.write(write, begun)
        assert stopped(folder, verb, number, read) == code
    finally:
        os.close(read)
        os.close(write)
    assert [entry.name for entry in folder.iterdir()] == ["here"]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("has_writer", [False, True])
def test_a_signal_is_heard_while_a_named_pipe_waits(
    folder: Path, verb: list[str], number: int, code: int, has_writer: bool
) -> None:
    pipe = folder / "rows.csv"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR) if has_writer else None
    try:
        arguments = ["rows.csv" if argument == "-" else argument for argument in verb]
        assert stopped(folder, arguments, number, subprocess.DEVNULL) == code
    finally:
        if held is not None:
            os.close(held)
    assert sorted(entry.name for entry in folder.iterdir()) == ["here", "rows.csv"]


def test_rows_come_through_a_named_pipe(folder: Path) -> None:
    body = b"one object"
    row = f"http://127.0.0.1:1/k,k,{len(body)},{hashlib.md5(body).hexdigest()}\n"
    (folder / "here" / "k").write_bytes(body)
    for verb, said in (
        (["verify", "/dev/fd/9", "--in", "here"], "verify: 1 verified (1 by md5)"),
        (["get", "/dev/fd/9", "--to", "here", "--dry-run"], "get: 1 to do"),
        (["abort", "/dev/fd/9", "--dry-run"], "abort: 0 to be ended"),
    ):
        done = subprocess.run(
            ["bash", "-c", f'printf "url,key,size,etag\\n{row}" | "$@" 9<&0 0</dev/null', "bash", *BULKPRESIGN, *verb],
            cwd=folder,
            env=os.environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stderr.decode()
