"""Workers whose clock is off: the server's time counts, as in the coordinator."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

import bulkpresign as bp
from bulkpresign.http import clock
from bulkpresign.model import utc_now
from tests.servers.proxy import FaultProxy
from tests.support.folders import files


@pytest.mark.parametrize("hours", [-3, 3])
def test_links_live_by_the_servers_time(hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def now() -> datetime:
        is_worker = threading.current_thread() is not threading.main_thread()
        return utc_now() + timedelta(hours=hours if is_worker else 0)

    monkeypatch.setattr(clock, "utc_now", now)
    signed = f"X-Amz-Date={datetime.now(UTC):%Y%m%dT%H%M%SZ}&X-Amz-Expires=3600&X-Amz-Signature=s"
    with (
        FaultProxy(answer_headers={"Date": format_datetime(datetime.now(UTC), usegmt=True)}) as origin,
        ThreadPoolExecutor(1) as executor,
    ):
        origin.objects = {f"/{number}": b"%d" % number for number in range(100)}
        links = [f"{origin.url}{name}?{signed}" for name in origin.objects]
        report = asyncio.run(bp.get(links, tmp_path / "to", executor=executor))
        assert (report.done, report.expired, origin.count) == (100, 0, 100)
        assert files(tmp_path / "to") == {name[1:]: body for name, body in origin.objects.items()}
