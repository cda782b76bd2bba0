"""The load of a run over all of its workers, and the requests that each may have in flight."""

from bulkpresign.transfer.executor import Statistics


class WorkerLoads:
    """Takes the load of each worker. While a server slows one of them, no other has more requests in flight.

    `share` is the number of requests that each may have in flight otherwise.
    """

    def __init__(self, share: int) -> None:
        self.share = self.most = share
        self._loads: dict[str, Statistics] = {}

    def note(self, worker: str, load: Statistics) -> None:
        """Takes a worker's load after a batch. `most` is then what each worker may have in flight."""
        before = self._loads.get(worker)
        if load.slowed > (0 if before is None else before.slowed):
            self.most = max(1, min(self.most, load.concurrency))
        else:
            self.most = min(self.share, 2 * self.most)
        self._loads[worker] = load

    def total(self, own: Statistics) -> Statistics:
        """The load of all workers; that of this process, `own`, before there is one."""
        loads = list(self._loads.values())
        if not loads:
            return own
        return Statistics(
            sum(load.concurrency for load in loads),
            loads[-1].bound_by,
            min((load.latency for load in loads if load.latency is not None), default=None),
            sum(load.slowed for load in loads),
            sum(load.lowest_concurrency for load in loads),
            own.uploads_left_open,
        )
