"""Workers that run out of disk: the run ends, and goes on where there is room."""

import asyncio
import subprocess
from pathlib import Path

import pytest

import bulkpresign as bp
from tests.servers.proxy import FaultProxy
from tests.support.folders import files


def test_a_full_disk_ends_the_run(
    origin: FaultProxy, tiny_disk: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    origin.objects = {f"/{number}": b"%04d" % number * 1024 for number in range(300)}
    journal = tmp_path_factory.mktemp("elsewhere") / "journal"
    urls = [f"{origin.url}{name}" for name in origin.objects]

    def get() -> bp.Report:
        return asyncio.run(bp.get(urls, tiny_disk / "to", journal=journal, executor="processes:2"))

    with pytest.raises(bp.BreakerError, match="No space left"):
        get()
    subprocess.run(["mount", "-o", "remount,size=8m", str(tiny_disk)], check=True)
    report = get()
    assert (report.failed, report.expired) == (0, 0)
    assert files(tiny_disk / "to") == {name[1:]: body for name, body in origin.objects.items()}
