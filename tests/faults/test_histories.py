"""Random histories, each with a model of what has to be true after every run."""

import asyncio
from pathlib import Path

import pytest

import bulkpresign as bp
from tests.conftest import Boto, MakeBucket
from tests.faults.history import History
from tests.faults.scene import Counts
from tests.faults.schedule import ROUNDS, Schedule
from tests.servers.proxy import FaultProxy
from tests.servers.server import S3Server

STEPS = 20


@pytest.mark.timeout(240 * ROUNDS)
@pytest.mark.parametrize("number", range(2 * ROUNDS))
def test_what_runs_report_is_true(
    number: int,
    counts: Counts,
    proxy: FaultProxy,
    seaweedfs: S3Server,
    make_bucket: MakeBucket,
    boto: Boto,
    tmp_path: Path,
) -> None:
    schedule = Schedule(f"history {number}", rate=0.15)
    schedule.without = frozenset({"delay", "503"})  # they only take time
    proxy.keeps_bodies = False
    buckets = make_bucket(seaweedfs), make_bucket(seaweedfs)
    with asyncio.Runner() as runner:
        presigner = runner.run(bp.Presigner().__aenter__())
        history = History(schedule, proxy, boto(seaweedfs), buckets, tmp_path, presigner, runner.run)
        for _ in range(STEPS):
            history.step()
        history.finish()
        runner.run(presigner.__aexit__())
    counts.kinds.update(schedule.injected)
