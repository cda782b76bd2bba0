import asyncio
import gc
import ssl
import subprocess
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from bulkpresign.transfer.engine import retries
from tests.servers.proxy import FaultProxy
from tests.transfer.running import Runner

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BASE_DELAY", 0.001)


@pytest.fixture(autouse=True)
def _own_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests choose the transport themselves, whatever the whole suite runs on."""
    monkeypatch.delenv("BULKPRESIGN_TRANSPORT", raising=False)


@pytest.fixture(params=["lean", "aiohttp"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _own_choice: None) -> str:
    """Each transport, which every client of the test uses."""
    monkeypatch.setenv("BULKPRESIGN_TRANSPORT", request.param)
    return str(request.param)


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[Path, Path]:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    name = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", *curve, *name, "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture(params=["http", "https"])
def plain_or_tls(
    request: pytest.FixtureRequest, tls_files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultProxy]:
    context = None
    if request.param == "https":
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tls_files[0]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls_files)
    with FaultProxy(tls=context) as proxy:
        yield proxy


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Runs a coroutine. What it left open is seen when that is collected; uvloop fails to end as well."""

    def run(main: Coroutine[Any, Any, T]) -> T:
        result: T = request.param(main)
        gc.collect()
        return result

    return run
