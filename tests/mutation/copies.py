"""Copies of the tree, in which tests run with a change in place."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

from tests.mutation.changes import Change

ROOT = Path(__file__).parents[2]
COPIED = ("bulkpresign", "tests", "examples", "README.md", "pyproject.toml")
#: Seconds that the tests of one change may take, all of them together.
LONGEST = 900


class Copies:
    """Copies of the tree, each for one change at a time."""

    def __init__(self, folder: Path, count: int) -> None:
        self._free = SimpleQueue[Path]()
        self._stamp = iter(range(10**9, 2 * 10**9))
        for number in range(count):
            for name in COPIED:
                source, target = ROOT / name, folder / str(number) / name
                target.parent.mkdir(exist_ok=True)
                copy = shutil.copytree if source.is_dir() else shutil.copy
                copy(source, target)
            self._free.put(folder / str(number))

    def passes(self, tests: Sequence[str], change: Change | None = None) -> bool:
        """True where the tests pass with a change in place."""
        copy = self._free.get()
        try:
            if change is None:
                return _passes(copy, tests)
            path = copy / "bulkpresign" / f"{change.module}.py"
            text = path.read_bytes()
            try:
                self._write(path, change.applied(text))
                return _passes(copy, tests)
            finally:
                self._write(path, text)
        finally:
            self._free.put(copy)

    def _write(self, path: Path, text: bytes) -> None:
        """Each text with a time of its own, by which Python knows that its compiled form is another's."""
        path.write_bytes(text)
        stamp = next(self._stamp)
        os.utime(path, (stamp, stamp))


def _passes(copy: Path, tests: Sequence[str]) -> bool:
    options = ("-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--timeout", "60", f"--basetemp={copy}.tmp")
    command = [sys.executable, "-m", "pytest", *options, *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    unseen = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=copy, env=environment, stdout=unseen, stderr=unseen, start_new_session=True
    ) as run:
        try:
            return run.wait(LONGEST) == 0
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            return False
