"""The Presigner of a run: the caller's, or one of the run's own, which is opened when it is first needed."""

from contextlib import AsyncExitStack
from typing import Any

import anyio

from bulkpresign.errors import ParameterError
from bulkpresign.signing.presigner import Presigner


class OwnPresigner:
    """Gives the Presigner that signs for a run. One that was given has to be open, and is left open.

    Raises ParameterError where a Presigner is given as well as one of the settings that would make another one.
    """

    def __init__(self, given: Presigner | None, stack: AsyncExitStack, **settings: Any) -> None:
        """`settings` are those of a Presigner; a new one is closed with the `stack`."""
        if given is not None:
            _check_alone(given, settings)
        self._presigner = given
        self._is_ready = given is not None
        self._stack, self._settings = stack, settings
        self._lock = anyio.Lock()

    async def __call__(self) -> Presigner:
        """The Presigner. Raises CredentialsError where there are no credentials."""
        async with self._lock:
            if self._presigner is None:
                self._presigner = await self._stack.enter_async_context(Presigner(**self._settings))
            return self._presigner

    @property
    def opened(self) -> Presigner | None:
        """The Presigner, where it was needed."""
        return self._presigner


#: What these settings are where nobody set them.
_UNSET = {
    "region_name": None,
    "endpoint_url": None,
    "profile_name": None,
    "addressing_style": "auto",
    "session": None,
    "expires_in": 3600,
}


def _check_alone(presigner: Presigner, settings: dict[str, Any]) -> None:
    if not presigner.is_open:
        raise ParameterError("presigner is not open: use it inside `async with`")
    for name, unset in _UNSET.items():
        if name in settings and settings[name] != unset:
            raise ParameterError(f"{name} and presigner are both given: the presigner has a {name} of its own")
