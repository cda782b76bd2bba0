"""A server behind a real wire: latency, jitter, rates, losses, limits. For tests and benchmarks of how fast we go.

`start(Wire(latency=0.05))` runs a server in a process of its own. It answers from memory and costs next to nothing, so
that the wire decides. `/BUCKET/SIZE/NAME` is an object of SIZE bytes; uploads are counted and forgotten. It checks no
signature. `start(wire, upstream=URL)` relays to a real server instead: every byte goes through the same wire.

One round trip is `latency` seconds. An answer starts one round trip after the request's last byte. The first request
of a connection waits for another round trip, as a handshake takes. Timers are a millisecond late at most, unless this
machine is busy, and never early.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bulkpresign.demo.daemon import HOST, Daemon, free_ports, wait_until
from bulkpresign.errors import DaemonEndedError

STARTS = 3
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Wire:
    """The behaviour of a wire and of the server at its end. Times are seconds, rates bytes a second, None no limit."""

    #: One round trip.
    latency: float = 0.0
    #: Up to so much is added to each answer's latency, evenly spread.
    jitter: float = 0.0
    #: Round trips that a new connection takes: 1 for TCP, 2 with TLS 1.3.
    handshake: int = 1
    #: Bytes per second of each connection, in each direction.
    connection_rate: float | None = None
    #: Bytes per second of all connections together, in each direction.
    total_rate: float | None = None
    #: The share of packets that are lost; each one stalls its connection for `loss_stall`.
    loss: float = 0.0
    loss_stall: float = 0.2
    #: The share of connections that have `slow_rate` instead of `connection_rate`.
    slow_share: float = 0.0
    slow_rate: float | None = None
    #: More connections than that are reset as they are opened.
    max_connections: int | None = None
    #: A connection is closed by the server after so many answers.
    requests_per_connection: int | None = None
    #: More requests a second are answered with 503. `burst` of them are free at the start; None: one second's worth.
    max_requests: float | None = None
    burst: float | None = None
    #: `Retry-After` of a 503.
    retry_after: int | None = None
    #: Nothing is sent and no body is read.
    stalled: bool = False
    #: Objects over `md5_size` bytes have an etag that is no md5. Any md5 is computed once, at its first request.
    md5_size: int = 8 << 20
    #: Uploads up to this size are answered with their md5; others with an etag that is no md5.
    md5_upload_size: int = 64 << 10
    #: Seeds jitter, losses and slow connections.
    seed: int = 12
    #: Other wires for a while.
    phases: "tuple[Phase, ...]" = ()

    def as_json(self) -> str:
        """For the process that serves."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Phase:
    """Between `begin` and `end` seconds after the first request, the wire is another one."""

    begin: float
    end: float
    wire: Wire


@dataclass
class Statistics:
    """Counts of the server since its start, or since `reset`."""

    #: Requests that arrived, those that were answered with 503 included.
    requests: int = 0
    #: Requests by their method.
    methods: dict[str, int] = field(default_factory=dict)
    #: Requests that were answered with 503.
    refused: int = 0
    #: Requests between their head's arrival and their answer's last byte.
    in_flight: int = 0
    most_in_flight: int = 0
    #: Connections that were accepted.
    connections: int = 0
    open_connections: int = 0
    most_connections: int = 0
    #: Connections over `max_connections`, which were reset.
    refused_connections: int = 0
    #: Body bytes of answers and of requests.
    bytes_sent: int = 0
    bytes_received: int = 0
    #: Seconds by which the server was late on average, where it let something wait. Some ms: this machine was busy.
    late: float = 0.0
    #: Requests and refused ones, by whole seconds since the first request.
    seconds: dict[int, tuple[int, int]] = field(default_factory=dict)

    def refused_share(self, after: int = 0) -> float:
        """The share of requests that were refused, from a second on."""
        counts = [count for second, count in self.seconds.items() if second >= after]
        return sum(refused for _, refused in counts) / max(1, sum(requests for requests, _ in counts))


@dataclass(frozen=True)
class RunningWire:
    """A wire in a process of its own."""

    endpoint_url: str
    port: int
    control_port: int
    pid: int

    def statistics(self) -> Statistics:
        """The counts up to now. Asking is not counted."""
        said = self._ask("GET", "/statistics")
        seconds = {int(second): (counts[0], counts[1]) for second, counts in said.pop("seconds").items()}
        return Statistics(**said, seconds=seconds)

    def reset(self) -> None:
        """Count from zero again, and let the next request be the first one. What is open or in flight stays counted."""
        self._ask("POST", "/reset")

    def change(self, wire: Wire) -> None:
        """Another wire from now on. Its phases count from the next first request."""
        self._ask("POST", "/change", wire.as_json())

    def _ask(self, method: str, path: str, body: str = "") -> Any:
        with closing(HTTPConnection(HOST, self.control_port, timeout=30)) as connection:
            connection.request(method, path, body.encode())
            answer = connection.getresponse()
            return json.loads(answer.read())


def wire_of(said: dict[str, Any]) -> Wire:
    """The wire that `Wire.as_json` told."""
    phases = tuple(Phase(each["begin"], each["end"], wire_of(each["wire"])) for each in said.pop("phases", ()))
    return Wire(**said, phases=phases)


@contextmanager
def start(wire: Wire, *, upstream: str | None = None) -> Iterator[RunningWire]:
    """A wire that ends with the context, however that ends. `upstream`: the http URL of a server to relay to.

    A relay carries bytes, not requests: it takes no `max_requests` and counts connections and bytes only.
    """
    if upstream is not None and (wire.max_requests or wire.requests_per_connection):
        raise ValueError("a relay does not know requests: max_requests and requests_per_connection need the own server")
    with ExitStack() as stack:
        yield _started(stack, wire, upstream)


def _started(stack: ExitStack, wire: Wire, upstream: str | None) -> RunningWire:
    """Again, on other ports, where another program took one first."""
    for attempt in range(STARTS):
        with ExitStack() as tried:
            try:
                running = _start_once(tried, wire, upstream)
            except DaemonEndedError:
                if attempt == STARTS - 1:
                    raise
                continue
            stack.enter_context(tried.pop_all())
            return running
    raise AssertionError("unreachable")


def _start_once(stack: ExitStack, wire: Wire, upstream: str | None) -> RunningWire:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wire-")))
    port, control_port = free_ports(2)
    arguments = [str(port), str(control_port), wire.as_json(), *([upstream] if upstream else [])]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(_ROOT)}
    daemon = Daemon(
        [sys.executable, "-m", "tests.servers.wire_server", *arguments],
        log=folder / "wire.log",
        folder=folder,
        env=environment,
    )
    stack.enter_context(daemon)
    running = RunningWire(f"http://{HOST}:{port}", port, control_port, daemon.pid)
    wait_until(lambda: running.statistics().requests == 0, daemon)
    return running
