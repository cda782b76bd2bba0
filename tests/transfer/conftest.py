import os

import pytest

from bulkpresign.transfer.engine import retries

#: The modules whose tests move bytes: they run on each transport. The others use none.
MOVE_BYTES = frozenset(
    {
        *("test_download", "test_kept_parts", "test_ranged", "test_ranges", "test_resume"),
        *("test_multipart", "test_single", "test_retries", "test_workers"),
    }
)


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BASE_DELAY", 0.001)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs what moves bytes on both transports, or on the one that the environment names."""
    if metafunc.module.__name__.rpartition(".")[2] in MOVE_BYTES:
        named = os.environ.get("BULKPRESIGN_TRANSPORT")
        metafunc.parametrize("transport", [named] if named else ["lean", "aiohttp"], indirect=True)


@pytest.fixture(autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The transport that every client of the test uses, None for the default."""
    name: str | None = getattr(request, "param", None)
    if name is not None:
        monkeypatch.setenv("BULKPRESIGN_TRANSPORT", name)
    return name
