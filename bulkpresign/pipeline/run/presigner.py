"""The Presigner of a run (the caller's, or one of the run's own), and the endpoint that it signs for."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio

from bulkpresign.errors import ParameterError
from bulkpresign.signing.presigner import Presigner


class RunPresigner:
    """Gives the Presigner that signs for a run. Use as an async context manager.

    A Presigner that is given has to be open, and stays open. Another one is made of `settings`, those of a Presigner,
    when it is first needed. Raises ParameterError where both are given, and TypeError for a value of another type.
    """

    def __init__(self, given: Presigner | None, **settings: Any) -> None:
        if given is not None:
            _check_alone(given, settings)
        self._presigner = given
        self._settings = settings
        self._stack = AsyncExitStack()
        self._lock = anyio.Lock()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def get(self) -> Presigner:
        """The Presigner. Raises CredentialsError where there are no credentials."""
        async with self._lock:
            if self._presigner is None:
                self._presigner = await self._stack.enter_async_context(Presigner(**self._settings))
            return self._presigner

    async def get_if(self, is_needed: bool) -> Presigner | None:
        """The Presigner where it is needed, else None."""
        return await self.get() if is_needed else None


async def endpoint_of_bucket(presigner: Presigner, bucket: str) -> str:
    """The scheme and host of a bucket's links. Two endpoints can have a bucket of the same name."""
    await presigner.refresh([bucket])
    (url,) = presigner.url_batch(bucket, ["x"])
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


#: These settings where the caller left them out.
_DEFAULTS = {
    "region_name": None,
    "endpoint_url": None,
    "profile_name": None,
    "addressing_style": "auto",
    "session": None,
    "expires_in": 3600,
    "request_payer": None,
}


def _check_alone(presigner: object, settings: dict[str, Any]) -> None:
    if not isinstance(presigner, Presigner):
        kind = "a class" if isinstance(presigner, type) else type(presigner).__name__
        raise TypeError(f"presigner is an open Presigner, not {kind}")
    if not presigner.is_open:
        raise ParameterError("presigner is not open: use it inside `async with`")
    presigner.check_loop()
    for name, default in _DEFAULTS.items():
        if name in settings and settings[name] != default:
            raise ParameterError(f"{name} and presigner are both given: the presigner has a {name} of its own")
