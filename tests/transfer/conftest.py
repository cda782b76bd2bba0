import pytest

from bulkpresign.transfer import retrying


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "BASE_DELAY", 0.001)
