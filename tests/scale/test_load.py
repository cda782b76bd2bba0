"""The load of a run over its workers."""

from bulkpresign.scale.load import WorkerLoads
from bulkpresign.transfer.executor import Statistics

OWN = Statistics(1, "latency", None, 0, 1, 3)


def load(concurrency: int, slowed: int, latency: float | None = None) -> Statistics:
    return Statistics(concurrency, "throttled", latency, slowed, concurrency, 0)


def test_a_server_that_slows_one_worker_slows_all_and_lets_them_go_step_by_step() -> None:
    loads = WorkerLoads(share=64)
    loads.note("one", load(64, slowed=0))
    assert loads.most == 64
    loads.note("one", load(10, slowed=1))
    assert loads.most == 10
    loads.note("other", load(30, slowed=2))
    assert loads.most == 10
    most = []
    for _ in range(4):
        loads.note("one", load(10, slowed=1))
        most.append(loads.most)
    assert most == [20, 40, 64, 64]


def test_the_total_is_that_of_all_workers() -> None:
    loads = WorkerLoads(share=64)
    assert loads.total(OWN) == OWN
    loads.note("one", load(3, slowed=2, latency=0.2))
    loads.note("other", load(5, slowed=1, latency=0.1))
    loads.note("third", load(7, slowed=0))
    assert loads.total(OWN) == Statistics(15, "throttled", 0.1, 3, 15, OWN.uploads_left_open)
