"""The proxy leaves nothing open, whenever it ends: what it left would fail whatever test the collector runs in."""

import gc
import socket
import time
from contextlib import suppress

import pytest

from tests.servers.proxy import HOST, FaultProxy


@pytest.mark.parametrize("count", [1, 4])
def test_a_connection_that_is_made_as_the_proxy_ends(count: int) -> None:
    """The proxy's thread is held up until both are there: the connection, and the word that it should end."""
    with FaultProxy() as proxy:
        proxy._loop.call_soon_threadsafe(time.sleep, 0.2)
        time.sleep(0.05)
        made = [socket.create_connection((HOST, proxy.port)) for _ in range(count)]
    for each in made:
        with suppress(ConnectionResetError):
            assert each.recv(1) == b""
        each.close()
    gc.collect()
