"""One clock for botocore and for this package, and an event loop for tests that are not coroutines."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from bulkpresign.signing.sigv4 import Signer
from tests.signing.oracle import START, TOKEN, Both, both


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def botocore(self, remove_tzinfo: bool = True) -> datetime:
        return self.now.replace(tzinfo=None) if remove_tzinfo else self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of botocore and of `bulkpresign.signing`."""
    clock = Clock()
    for module in ("botocore.auth", "botocore.crt.auth", "botocore.signers", "aiobotocore.signers"):
        monkeypatch.setattr(f"{module}.get_current_datetime", clock.botocore)
    monkeypatch.setattr("bulkpresign.signing.presigner.utc_now", clock)
    return clock


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal("asyncio") as portal:
        yield portal


@pytest.fixture(scope="module")
def europe(portal: BlockingPortal) -> Iterator[Both]:
    """AWS itself, virtual-hosted, with keys that last."""
    with both(portal, "eu-central-1") as opened:
        yield opened


@pytest.fixture(scope="module")
def session_token(portal: BlockingPortal) -> Iterator[Both]:
    """A server of one's own by path, with a session token."""
    with both(portal, "us-east-1", "http://localhost:9000", token=TOKEN) as opened:
        yield opened


@pytest.fixture(scope="module", params=["europe", "session_token"])
def either(request: pytest.FixtureRequest) -> Both:
    found: Both = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def signers(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every signer that is made."""
    made: list[object] = []

    class Counted(Signer):
        def __init__(self, *arguments: object, **options: object) -> None:
            made.append(self)
            super().__init__(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("bulkpresign.signing.batch.Signer", Counted)
    return made
