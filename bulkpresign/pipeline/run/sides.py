"""The two sides of a run from bucket to bucket: a Presigner for each, or one for both."""

from contextlib import AsyncExitStack
from typing import Any, Self

from bulkpresign.pipeline.run.presigner import RunPresigner
from bulkpresign.signing.presigner import Presigner


class Sides:
    """The Presigners of source and destination. Use as an async context manager.

    `source` and `destination` are settings of a Presigner for one side; those that are None are as in `both`. Without
    a difference, both sides have the same one.
    """

    def __init__(
        self,
        source_presigner: Presigner | None,
        destination_presigner: Presigner | None,
        *,
        both: dict[str, Any],
        source: dict[str, str | None],
        destination: dict[str, str | None],
    ) -> None:
        source, destination = ({**both, **_given(settings)} for settings in (source, destination))
        #: True if both sides are one server with the same credentials.
        self.are_one = source_presigner is destination_presigner and source == destination
        self.source = RunPresigner(source_presigner, **source)
        self.destination = self.source if self.are_one else RunPresigner(destination_presigner, **destination)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.source)
        if not self.are_one:
            await self._stack.enter_async_context(self.destination)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()


def _given(settings: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if value is not None}
