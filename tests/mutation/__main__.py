"""Makes small wrong changes in the package, one at a time in a copy of it, and names those that no test notices.

`python -m tests.mutation [--modules NAME ...] [--count N] [--seed S] [--quick]`, names as `transfer/ranges`. The quick
tests of a module run first; a change that they pass runs against the wider ones. Tests that take too long are a catch.
"""

import argparse
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

from tests.mutation.changes import Change, Finder
from tests.mutation.copies import ROOT, Copies
from tests.mutation.modules import MODULES

WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--modules", nargs="+", choices=sorted(MODULES), default=list(MODULES), metavar="NAME")
    parser.add_argument("--count", type=int, default=8, help="changes of each module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="leave the wider tests out")
    options = parser.parse_args()
    began = time.monotonic()
    changes = [change for name in options.modules for change in sample(name, options.count, options.seed)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as threads:
        trial = Trial(Copies(Path(folder), WORKERS), groups=1 if options.quick else None)
        try:
            caught = sum(threads.map(trial.catches, changes))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    percent = 100 * caught / max(len(changes), 1)
    print(f"mutations: {len(changes)}, caught: {caught} ({percent:.1f} %), in {time.monotonic() - began:.0f} s")


def sample(module: str, count: int, seed: int) -> list[Change]:
    """Some of a module's changes; the same ones for the same seed and text."""
    found = Finder(module, text_of(module)).changes()
    return random.Random(f"{seed} {module}").sample(found, min(count, len(found)))


class Trial:
    """Changes against the first `groups` of their modules' tests (None: all)."""

    def __init__(self, copies: Copies, groups: int | None) -> None:
        self._copies, self._groups = copies, groups
        self._passes_unchanged = cache(partial(copies.passes, change=None))

    def catches(self, change: Change) -> bool:
        """True where a test fails; a change that none fails on is printed."""
        for tests in MODULES[change.module][: self._groups]:
            if not self._passes_unchanged(tests):
                sys.exit(f"without a change these fail already: {' '.join(tests)}")
            if not self._copies.passes(tests, change):
                return True
        print(change.shown(text_of(change.module)), flush=True)
        return False


def text_of(module: str) -> bytes:
    return (ROOT / "bulkpresign" / f"{module}.py").read_bytes()


if __name__ == "__main__":
    main()
