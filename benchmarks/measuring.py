"""How figures are taken and shown."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BAR_WIDTH = 40
#: Runs a command, and prints its figures as the last line. Linux counts the peak memory of the process that starts a
#: command as the command's, so a small one starts it.
_LAUNCHER = """
import resource, subprocess, sys, time
began = time.perf_counter()
status = subprocess.call(sys.argv[1:], stderr=subprocess.STDOUT)
wall, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"\\n{used.ru_utime + used.ru_stime} {wall} {used.ru_maxrss / 1024}")
sys.exit(status and 1)
"""
_LEFT_OUT = frozenset({"AWS_CA_BUNDLE", "PYTHONDONTWRITEBYTECODE"})


@dataclass
class Cost:
    """The cost of a command: CPU seconds (user and system), wall seconds, peak memory in MiB."""

    cpu: float
    wall: float
    memory: float


def run(command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Cost:
    """Runs a command to its end, as the kernel accounts for it and its children. Raises where it fails.

    What the environment of this shell would add is left out: Python keeps its bytecode, as it does where a package is
    installed, and no certificates are read for servers that speak http.
    """
    env = {name: value for name, value in (env or os.environ).items() if name not in _LEFT_OUT}
    ran = subprocess.run([sys.executable, "-ISc", _LAUNCHER, *command], env=env, cwd=cwd, capture_output=True)
    if ran.returncode:
        said = (ran.stdout + ran.stderr)[-2000:].decode(errors="replace")
        raise SystemExit(f"{command[0]} failed: {said}")
    return Cost(*map(float, ran.stdout.split()[-3:]))


@contextmanager
def on_core(position: int) -> Iterator[None]:
    """Threads and processes that begin in the block stay on one core: the first is 0, the last -1.

    Does nothing where there is only one core, or where the system can't say.
    """
    if not hasattr(os, "sched_setaffinity") or len(cores := sorted(os.sched_getaffinity(0))) < 2:
        yield
        return
    os.sched_setaffinity(0, {cores[position]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder, in memory where the machine has /dev/shm, so that no disk is measured."""
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="benchmark-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def size_text(size: int) -> str:
    unit, name = next(
        (unit, name) for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B")) if size >= unit
    )
    return f"{size // unit} {name}"


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process for a piece of work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def show(title: str, unit: str, figures: Mapping[str, float], base: str, *, more_is_better: bool) -> None:
    """A table with a plot: each figure, its ratio to `base`, and a bar."""
    print(f"\n{title}")
    longest = max(figures.values())
    width = max(map(len, figures))
    for name, figure in sorted(figures.items(), key=lambda item: item[1], reverse=more_is_better):
        bar = "#" * max(1, round(BAR_WIDTH * figure / longest))
        print(f"  {name:<{width}}  {figure:>12,.1f} {unit}  {figure / figures[base]:>8.2f} x {base}  {bar}")
    sys.stdout.flush()


def goal(what: str, ratio: float, least: float | None = None, most: float | None = None) -> None:
    """One line a goal: the ratio and whether it was reached."""
    reached = (least is None or ratio >= least) and (most is None or ratio <= most)
    bound = f">= {least:.3g}" if least is not None else f"<= {most:.3g}"
    print(f"  {'reached' if reached else 'MISSED '}  {what}: {ratio:.2f} (goal {bound})")
