"""Runs of `get` in processes of their own; none may print a traceback or a signature."""

import signal
import subprocess
import time
from pathlib import Path

from tests.servers.proxy import Fault, FaultProxy
from tests.support.cli import BULKPRESIGN, run
from tests.support.links import links, many


def get(folder: Path, *arguments: str, code: int) -> str:
    """The messages of a run that has to end with this exit code."""
    done = run("get", *arguments, folder=folder, env={})
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    return done.stderr


def refused(folder: Path, *arguments: str) -> str:
    """The one-line message of a run that has to end before it sends anything."""
    said = get(folder, *arguments, code=2)
    if "Usage:" not in said:
        assert said.startswith("error: ")
        assert said.count("\n") == 1
    return said


class Begun:
    """A run of many objects, to be stopped in the middle: it has the first 100, and the server holds back 8."""

    def __init__(self, origin: FaultProxy, folder: Path, *more: str) -> None:
        origin.objects = {f"/{n}": bytes([n]) * 100_000 for n in range(200)}
        origin.faults.extend([Fault(delay=0.05, split=True)] * 100)
        origin.always = Fault(hold_after=50_000)
        self.bodies = {f"d/{n}": origin.objects[f"/{n}"] for n in range(200)}
        links(folder / "l.csv", many(origin, 200))
        arguments = ["get", "l.csv", "--to", "to", "--failures", "f.csv", "--concurrency", "8", *more]
        self.origin = origin
        self.process = subprocess.Popen([*BULKPRESIGN, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)
        while origin.count < 108:
            assert self.process.poll() is None
            time.sleep(0.02)

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        """Sends a signal; the exit code and the messages. The server then answers everything again."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=20)
        assert "Traceback" not in said
        self.origin.faults.clear()
        self.origin.always = None
        return self.process.returncode, said
