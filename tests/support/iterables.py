"""Iterables of a program."""

import asyncio
from collections.abc import AsyncIterator, Iterable

from bulkpresign.model import ObjectRef


async def waiting_rows(refs: Iterable[ObjectRef], closed: list[bool], seconds: float) -> AsyncIterator[ObjectRef]:
    """The objects, then a wait for more: it does not end by itself. Its cleanup takes `seconds`, and fills `closed`."""
    try:
        for ref in refs:
            await asyncio.sleep(0)
            yield ref
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(seconds)
        closed.append(True)
