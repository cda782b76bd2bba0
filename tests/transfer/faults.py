"""Faults of every third object, for runs with plain jobs and by the general path that have to end alike."""

from collections import Counter
from collections.abc import Callable, Sequence

from tests.servers.proxy import Fault, Seen, expired

FAULTS = (
    *(Fault(503, body=b"<Error><Code>SlowDown</Code></Error>"), Fault(429), Fault(500), Fault(403), Fault(404)),
    *(Fault(reset_after=0), Fault(reset_after=30), Fault(cut_after=0), Fault(cut_after=7), Fault(flip_answer=True)),
    *(Fault(split=True), Fault(no_length=True), Fault(delay=0.01), expired(), Fault(201, body=b"another")),
)


def faults_of_every_third(method: str, faults: Sequence[Fault] = FAULTS) -> Callable[[Seen], Fault | None]:
    """The first request of one method for every third object goes wrong, each in another way.

    The last segments of the objects' paths are numbers.
    """
    requests: Counter[int] = Counter()

    def schedule(seen: Seen) -> Fault | None:
        if seen.method != method:
            return None
        number = int(seen.target.partition("?")[0].rpartition("/")[2])
        requests[number] += 1
        return faults[number // 3 % len(faults)] if number % 3 == 0 and requests[number] == 1 else None

    return schedule
