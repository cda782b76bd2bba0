"""Addresses of hosts, each looked up once in a while. Those that were found are used while the lookup fails."""

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from typing import Any

import anyio

#: Seconds for which the addresses of a host are used.
DNS_TTL = 300.0
#: Seconds until a host is looked up again that was not found, or can't be connected.
DNS_RETRY = 1.0


class Resolver:
    """Looks hosts up, and remembers what was found. Of several tasks that ask at once, one looks up."""

    def __init__(self) -> None:
        self._addresses: dict[tuple[str, int], _Addresses] = {}

    async def resolve(self, host: str, port: int) -> list[Any]:
        """The host's addresses as `getaddrinfo` gives them, in turn another one first: S3 serves from many at once.

        Raises socket.gaierror.
        """
        known = self._addresses.setdefault((host, port), _Addresses())
        loop = asyncio.get_running_loop()
        async with known.lock:
            if known.valid_until <= loop.time():
                try:
                    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                    known.renew(found, loop.time() + DNS_TTL)
                except socket.gaierror as error:  # raised to every task that waits now
                    known.renew(error, loop.time() + DNS_RETRY)
        return known.next()

    def doubt(self, host: str, port: int) -> None:
        """The host's addresses can't be connected: it is looked up again soon."""
        known = self._addresses[host, port]
        known.valid_until = min(known.valid_until, asyncio.get_running_loop().time() + DNS_RETRY)


class _Addresses:
    """The addresses of one host, or why there are none, and until when that is used."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.valid_until = float("-inf")
        self._found: deque[Any] = deque()
        self._error: socket.gaierror | None = None

    def renew(self, found: Iterable[Any] | socket.gaierror, valid_until: float) -> None:
        self.valid_until = valid_until
        if isinstance(found, socket.gaierror):
            self._error = found
        else:
            self._found = deque(found)

    def next(self) -> list[Any]:
        if self._error is not None and not self._found:
            raise self._error
        addresses = list(self._found)
        self._found.rotate(-1)
        return addresses
