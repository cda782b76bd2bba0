"""Debug messages of requests. No message holds a query, a header or a body."""

import logging
import time

from bulkpresign.errors import TransferError
from bulkpresign.http.response import RequestContext, Response
from bulkpresign.model import Link, without_query

_logger = logging.getLogger("bulkpresign.http")


class LoggedRequest:
    """A request whose beginning, response and end are logged. Made only where debug logging is on."""

    __slots__ = ("_name", "_request", "_started_at")

    def __init__(self, request: RequestContext, link: Link) -> None:
        self._request = request
        self._name = f"{link.method} {without_query(link.url)}"
        self._started_at = 0.0

    async def __aenter__(self) -> Response:
        self._started_at = time.monotonic()
        _logger.debug("%s: request", self._name)
        try:
            response = await self._request.__aenter__()
        except BaseException as error:
            # Only our own errors are known to hold no secret.
            reason = f"{type(error).__name__}{f': {error}' if isinstance(error, TransferError) else ''}"
            _logger.debug("%s: failed after %s: %s", self._name, self._elapsed, reason)
            raise
        _logger.debug("%s: status %d after %s", self._name, response.status, self._elapsed)
        return response

    async def __aexit__(self, *exc_info: object) -> None:
        await self._request.__aexit__(*exc_info)
        _logger.debug("%s: ended after %s", self._name, self._elapsed)

    @property
    def _elapsed(self) -> str:
        return f"{(time.monotonic() - self._started_at) * 1000:.1f} ms"
