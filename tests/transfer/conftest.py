import pytest

from bulkpresign.transfer.engine import retries


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BASE_DELAY", 0.001)
