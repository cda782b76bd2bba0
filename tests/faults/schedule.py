"""Which request meets which fault: seeded, and bounded so that a run with enough attempts comes through."""

import os
import random
from collections import Counter
from collections.abc import Callable

from tests.servers.proxy import Fault, Seen
from tests.support.uploads import is_look

SEED = int(os.environ.get("BULKPRESIGN_FAULT_SEED", "20240607"))
#: How much longer than in CI.
ROUNDS = int(os.environ.get("BULKPRESIGN_FAULT_ROUNDS", "1"))
#: Of one object and run. More attempts than that, and it must come through.
MOST_FAULTS = 3
ATTEMPTS = "8"

Make = Callable[[random.Random], Fault]

_ERROR = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
_EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"

_ANY: dict[str, Make] = {
    "reset before": lambda _: Fault(reset_after=0),
    "delay": lambda rng: Fault(delay=rng.uniform(0.05, 0.4)),
    "500": lambda _: Fault(500, body=_ERROR),
    "503": lambda rng: Fault(503, {"Retry-After": str(rng.randint(0, 1))}, b"<Error><Code>SlowDown</Code></Error>"),
    "error in 200": lambda _: Fault(200, body=_ERROR),
    "answer lost": lambda _: Fault(reset_after=20),
}
_GET: dict[str, Make] = {
    "reset within": lambda rng: Fault(reset_after=rng.randint(300, 4 << 20)),
    "truncated": lambda rng: Fault(cut_after=rng.randint(1, 4 << 20)),
    "cut after headers": lambda _: Fault(cut_after=0),
    "flipped answer": lambda _: Fault(flip_answer=True),
}
_RANGE: dict[str, Make] = {
    "range ignored": lambda _: Fault(ignore_range=True),
    "range lied about": lambda _: Fault(shift_range=True),
    "412": lambda _: Fault(412, body=b"<Error><Code>PreconditionFailed</Code></Error>"),
    "416": lambda _: Fault(416, body=b"<Error><Code>InvalidRange</Code></Error>"),
}
_PUT: dict[str, Make] = {
    "reset within": lambda _: Fault(early=True, reset_after=0),
    "flipped request": lambda _: Fault(flip_request=True),
}
_RENEWED: dict[str, Make] = {"expired": lambda _: Fault(403, body=_EXPIRED)}


class Schedule:
    """Gives each request its fault, or none. `injected` counts them by kind."""

    def __init__(self, name: str, *, renews: bool = False, rate: float = 0.3, ranges: float = 0.7) -> None:
        self.rng = random.Random(f"{SEED} {name}")
        self.injected: Counter[str] = Counter()
        self._renews = renews
        self._rate, self._ranges = rate, ranges
        #: Kinds that no request meets.
        self.without: frozenset[str] = frozenset()
        #: What becomes of a request that goes well.
        self.otherwise: Fault | None = None
        self._of_object: Counter[str] = Counter()
        self._flipped: set[str] = set()

    def begin_run(self) -> None:
        """Every object may meet faults again."""
        self._of_object.clear()

    def spared(self, name: str) -> bool:
        """True where no request for an object met a fault in this run, and no bytes kept of an earlier one are wrong.

        That a part is wrong shows only when the object is whole, maybe in a later run, which then starts it again.
        """
        return not self._of_object[name] and name not in self._flipped

    def __call__(self, seen: Seen) -> Fault | None:
        name, _, query = seen.target.partition("?")
        if "list-type" in query or self._of_object[name] >= MOST_FAULTS:
            return self.otherwise
        is_range = seen.header("range") is not None
        if self.rng.random() >= (self._ranges if is_range else self._rate):
            return self.otherwise
        kinds = self._kinds(seen, is_range=is_range)
        kind, make = self.rng.choice([each for each in kinds.items() if each[0] not in self.without])
        self._of_object[name] += 1
        self.injected[kind] += 1
        if kind == "flipped answer":
            self._flipped.add(name)
        return make(self.rng)

    def _kinds(self, seen: Seen, *, is_range: bool) -> dict[str, Make]:
        own = {"GET": _GET, "PUT": _PUT}.get(seen.method, {})
        if self._renews and not self.injected["expired"]:
            return _RENEWED  # at least once in every run that is about it
        if seen.method == "GET" and "uploadId=" in seen.target:  # nothing proves what is told of parts
            own = {kind: make for kind, make in _GET.items() if kind != "flipped answer"}
        return _ANY | own | (_RANGE if is_range else {}) | (_RENEWED if self._renews else {})


def sparing_uploads(schedule: Schedule) -> Callable[[Seen], Fault | None]:
    """The schedule, without faults for two requests of uploads in parts.

    An upload whose opening is not heard of is known to the server alone; what is seen of an object that an earlier run
    completed decides whether its parts go up again.
    """
    return lambda seen: None if "uploads=" in seen.target or is_look(seen) else schedule(seen)
