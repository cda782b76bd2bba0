"""How much work makes a batch that takes a worker about a second."""

from collections.abc import Sequence

from bulkpresign.scale.messages import BatchResult
from bulkpresign.transfer.engine.jobs import Job

#: Seconds of a batch.
TARGET = 1.0
#: Bytes that take about as long as the request of an object. An amount of work is counted in objects of this size.
_BYTES = 64 << 10
_FIRST, _LEAST, _MOST = 256.0, 16.0, 65_536.0


class Pace:
    """Finds the amount of work for a batch, from the batches before."""

    def __init__(self) -> None:
        #: The amount of work of the next batch.
        self.amount = _FIRST

    def add(self, jobs: Sequence[Job], result: BatchResult) -> None:
        """Takes what became of a batch. One batch makes the next at most twice as large, or half as large."""
        amount = sum(map(amount_of, jobs))
        wanted = amount * TARGET / max(result.seconds, 0.001)
        self.amount = min(max(wanted, self.amount / 2, _LEAST), self.amount * 2, _MOST)


def amount_of(job: Job) -> float:
    """The amount of work of a job."""
    return 1.0 + (job.link.object.size or 0) / _BYTES
