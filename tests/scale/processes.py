"""The worker processes of a run, as the system sees them."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def workers_of(pid: int) -> list[int]:
    """The worker processes that a process has started and that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if (
                int(parent) == pid
                and state != "Z"
                and b"bulkpresign.scale.process" in (folder / "cmdline").read_bytes()
            ):
                found.append(int(folder.name))
    return sorted(found)


def is_alive(pid: int) -> bool:
    """True while a process has not ended."""
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(is_so: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits; fails where it takes longer."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.02)


def memory_has(pid: int, secret: bytes) -> bool:
    """True if the writable memory of a process has these bytes."""
    with (Path("/proc") / str(pid) / "mem").open("rb", 0) as memory:
        for line in (Path("/proc") / str(pid) / "maps").read_text().splitlines():
            place, rights = line.split()[:2]
            if "w" not in rights or "[v" in line:
                continue
            start, end = (int(address, 16) for address in place.split("-"))
            with suppress(OSError, ValueError):
                if secret in os.pread(memory.fileno(), end - start, start):
                    return True
    return False
