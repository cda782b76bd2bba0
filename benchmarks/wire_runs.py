"""One transfer over one wire: the work, the tools that do it, and how long each takes."""

import math
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import GIB, MIB, Cost, run, size_text
from tests.servers.wire import RunningWire, Wire, start

#: From here on an object moves in parts, so that the number to find is the one of parts.
LARGE = 64 * MIB
OURS = "ours"
BUCKET = "wires"
#: More does not fit a machine's memory, where files are kept so that no disk is measured.
MOST_BYTES = 4 * GIB
#: About what one core moves, by which the work is chosen.
_OBJECTS_A_SECOND = 6_000
_BYTES_A_SECOND = 800e6
MOST_IN_FLIGHT = 1024
#: A sweep begins with this part of the number that fills the wire.
_FAR = 6
_KEYS = {
    "AWS_ACCESS_KEY_ID": "wire",
    "AWS_SECRET_ACCESS_KEY": "wire",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

Commands = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Work:
    """`count` objects of `size` bytes over a wire, down (GET) or up (PUT)."""

    verb: str
    size: int
    count: int
    wire: Wire

    @property
    def is_large(self) -> bool:
        return self.size >= LARGE

    @property
    def title(self) -> str:
        rate = self.wire.connection_rate
        each = f"{rate / 1e6:.0f} MB/s" if rate else "unlimited"
        return f"{self.verb} {self.count:>6,} x {size_text(self.size):>7} {self.wire.latency * 1000:>4.0f} ms {each:>9}"

    def megabytes_a_second(self, seconds: float) -> float:
        return self.size * self.count / seconds / 1e6


@dataclass(frozen=True)
class Ran:
    """The cost of one run of a tool, and the requests and connections that the wire counted."""

    cost: Cost
    requests: int
    most_in_flight: int
    connections: int
    refused_share: float
    #: Seconds by which the wire was slower than it should be, for this machine was busy.
    late: float


def seconds_of_each(size: int, wire: Wire) -> float:
    """Seconds for one object, with one request in flight."""
    return wire.latency + size / (wire.connection_rate or _BYTES_A_SECOND)


def objects_a_second(size: int, wire: Wire) -> float:
    """An estimate of the objects per second, bounded by this machine and by 1,024 requests in flight."""
    in_flight = MOST_IN_FLIGHT / seconds_of_each(size, wire)
    return min(_OBJECTS_A_SECOND, _BYTES_A_SECOND / size, math.inf if size >= LARGE else in_flight)


def count_for(size: int, wire: Wire, seconds: float) -> int:
    """The number of objects that take about `seconds`, with enough requests in flight."""
    return max(1, min(int(objects_a_second(size, wire) * seconds), MOST_BYTES // size))


def worth_trying(size: int, wire: Wire, numbers: Sequence[int]) -> Sequence[int]:
    """Without the numbers that are far too small to fill the wire: rate x time tells how many do."""
    filling = objects_a_second(size, wire) * seconds_of_each(size, wire)
    return [number for number in numbers if number >= filling / _FAR]


class Bench:
    """A work with its files and its server, ready to be run by each tool in turn."""

    def __init__(self, work: Work, wire: RunningWire, folder: Path) -> None:
        self.work = work
        self._wire = wire
        self._folder = folder
        self._environment = {**os.environ, **_KEYS, "AWS_ENDPOINT_URL": wire.endpoint_url}
        self.peers = {name: command for name, command in self._peers().items() if shutil.which(command[0])}
        self._prepare()

    def ours(self, *options: str) -> list[str]:
        """Our command; without options it is as it comes."""
        command = [sys.executable, "-m", "bulkpresign"]
        source = ["get", "links.csv", "--to", "to"]
        if self.work.verb == "PUT":
            source = ["put", "from", f"s3://{BUCKET}/{self.work.size}/"]
        return [*command, *source, "--journal", "run.journal", "--progress", "off", *options]

    def fixed(self, number: int) -> list[str]:
        """Our command with a number set by hand: of objects, or of parts where these are large."""
        if not self.work.is_large:
            return self.ours("--concurrency", str(number))
        objects = min(self.work.count, number)
        parts = math.ceil(number / objects)
        options = ["--concurrency", str(objects), "--part-concurrency", str(parts)]
        part_size = max(5 * MIB, min(LARGE, self.work.size // parts))
        return self.ours(*options, "--part-size", f"{part_size // MIB}MiB")

    def run(self, command: Sequence[str]) -> Ran:
        """One run from nothing. Raises SystemExit where it fails or leaves something out."""
        self._clear()
        self._wire.change(self.work.wire)
        self._wire.reset()
        cost = run(command, self._environment, self._folder)
        self._check(command)
        seen = self._wire.statistics()
        share = seen.refused_share(after=2)
        return Ran(cost, seen.requests, seen.most_in_flight, seen.connections, share, seen.late)

    def _peers(self) -> Commands:
        unsigned = ["s5cmd", "--log", "error", "--no-sign-request", "--endpoint-url", self._wire.endpoint_url]
        many = ["curl", "--silent", "--fail", "--create-dirs", "--parallel", "--parallel-max", "300"]
        peers = {
            "curl -Z": [*many, "--config", "curl.txt"],
            "s5cmd": [*unsigned, "run", "s5cmd.txt"],
        }
        if self.work.is_large and self.work.verb == "GET":
            split = ["--max-connection-per-server=16", "--split=16", "--min-split-size=1M", "--file-allocation=none"]
            peers["aria2 -x16"] = ["aria2c", "--quiet", *split, "--dir", "to", "--input-file", "aria2.txt"]
        return peers

    def _prepare(self) -> None:
        names = [f"{number:06d}" for number in range(self.work.count)]
        rows = [(name, f"{self.work.size}/{name}") for name in names]
        base = f"{self._wire.endpoint_url}/{BUCKET}"
        if self.work.verb == "PUT":
            self._fill(names)
            self._write("curl.txt", (f'upload-file = "from/{name}"\nurl = "{base}/{key}"\n' for name, key in rows))
            self._write("s5cmd.txt", (f"cp from/{name} s3://{BUCKET}/{key}\n" for name, key in rows))
            return
        self._write("curl.txt", (f'url = "{base}/{key}"\noutput = "to/{name}"\n' for name, key in rows))
        self._write("aria2.txt", (f"{base}/{key}\n  out={name}\n" for name, key in rows))
        self._write("s5cmd.txt", (f"cp s3://{BUCKET}/{key} to/{name}\n" for name, key in rows))
        table = (f"{BUCKET},{key},{self.work.size},{name}\n" for name, key in rows)
        self._write("keys.csv", ["bucket,key,size,path\n", *table])
        sign = [sys.executable, "-m", "bulkpresign", "sign", "keys.csv", "-o", "links.csv"]
        run(sign, self._environment, self._folder)

    def _fill(self, names: Sequence[str]) -> None:
        """Every file is the same one under another name: it costs no room, and is read as any other."""
        source = self._folder / "from"
        source.mkdir()
        block = os.urandom(min(self.work.size, MIB))
        with (source / names[0]).open("wb") as stream:
            for at in range(0, self.work.size, len(block)):
                stream.write(block[: self.work.size - at])
        for name in names[1:]:
            (source / name).hardlink_to(source / names[0])

    def _write(self, name: str, lines: Sequence[str] | Iterator[str]) -> None:
        (self._folder / name).write_text("".join(lines))

    def _clear(self) -> None:
        shutil.rmtree(self._folder / "to", ignore_errors=True)
        (self._folder / "to").mkdir()
        for journal in self._folder.glob("*.journal*"):
            journal.unlink()

    def _check(self, command: Sequence[str]) -> None:
        expected = self.work.size * self.work.count
        found = sum(file.stat().st_size for file in (self._folder / "to").iterdir())
        if self.work.verb == "PUT":
            found = self._wire.statistics().methods.get("PUT", 0) and self._wire.statistics().bytes_received
        if found < expected:
            raise SystemExit(f"{command[0]} moved {found:,} of {expected:,} bytes")


@contextmanager
def bench(work: Work) -> Iterator[Bench]:
    """The server and a folder in memory, where there is one, for a work."""
    scratch = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=scratch, prefix="wires-", ignore_cleanup_errors=True) as name,
        start(work.wire) as wire,
    ):
        yield Bench(work, wire, Path(name))


def best_fixed(bench: Bench, numbers: Sequence[int], say: Callable[[str], None]) -> int:
    """The number with which our run is fastest. Stops where two more numbers in a row bring nothing."""
    found: dict[int, Ran] = {}
    for number in worth_trying(bench.work.size, bench.work.wire, numbers):
        found[number] = bench.run(bench.fixed(number))
        say(f"{number}: {found[number].cost.wall:.2f} s")
        best = min(found, key=lambda number: found[number].cost.wall)
        if len(found) > 2 and list(found).index(best) < len(found) - 2:
            break
    return best
