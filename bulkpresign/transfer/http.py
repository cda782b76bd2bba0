"""The only door to aiohttp: send this request, stream a body out or in, tell status, headers and length.

Presigned links are signed to the byte, and HTTP clients like to improve what they send. Each line of the set-up below
closes a way in which a link was seen to break.
"""

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from bulkpresign.errors import ConnectionFailedError, TransferError, TruncatedError
from bulkpresign.model import Link, utc_now
from bulkpresign.transfer.answers import error_of

#: Bytes of one read.
CHUNK_SIZE = 256 * 1024
CONNECT_TIMEOUT = 30.0
IDLE_TIMEOUT = 60.0
_ERROR_BODY = 64 * 1024

Body = bytes | AsyncIterator[bytes]


class Answer:
    """A response whose headers are here and whose body is still to come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def length(self) -> int | None:
        """The body's bytes as announced, None where it was not."""
        return self._response.content_length

    @property
    def etag(self) -> str | None:
        """The entity tag without quotes."""
        etag = self.headers.get("ETag")
        return etag.strip('"') if etag else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it is stored, in reads of up to about `CHUNK_SIZE` bytes."""
        with _own_errors():
            content = self._response.content
            while chunk := await content.readany():
                yield chunk

    async def error(self, link: Link) -> TransferError:
        """What this answer means as an error."""
        with _own_errors():
            body = await self._response.content.read(_ERROR_BODY)
        return error_of(self.status, self.headers, body, link, utc_now())


class Http:
    """A pool of connections. `concurrency` bounds how many are open."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrency, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=IDLE_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            requote_redirect_url=False,
            skip_auto_headers=("Content-Type",),
            headers={"Accept-Encoding": "identity", "User-Agent": "bulkpresign"},
            read_bufsize=CHUNK_SIZE,
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    @asynccontextmanager
    async def request(
        self, link: Link, headers: Mapping[str, str] | None = None, body: Body | None = None
    ) -> AsyncIterator[Answer]:
        """Sends a link with its headers and `headers`. A body that is iterated needs a Content-Length among them.

        Redirects are not followed: a signature holds for one host alone, and goes to no other.
        """
        with _own_errors():
            async with self._session.request(
                link.method,
                URL(link.url, encoded=True),
                headers={**link.headers, **headers} if headers else link.headers,
                data=body,
                allow_redirects=False,
                proxy=_proxy(*urlsplit(link.url)[:2]),
            ) as response:
                yield Answer(response)


@lru_cache(maxsize=1024)
def _proxy(scheme: str, netloc: str) -> str | None:
    """The proxy that the environment names for a host.

    aiohttp's own `trust_env` would also send what `~/.netrc` holds for the host, and S3 refuses a second authorization.
    """
    host = netloc.rpartition("@")[2]
    return None if proxy_bypass(host) else getproxies().get(scheme)


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except aiohttp.ClientPayloadError as error:
        raise TruncatedError("the body ended early", code="Truncated") from error
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        raise ConnectionFailedError("no answer in time", code="Timeout") from error
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
        raise ConnectionFailedError(f"the certificate is not trusted: {_reason(error)}", code="Certificate") from error
    except aiohttp.ClientConnectorDNSError as error:
        raise ConnectionFailedError(f"no such host: {error.host}", code="NoSuchHost") from error
    except aiohttp.ClientConnectorError as error:
        place = f"{error.host}:{error.port}"
        raise ConnectionFailedError(f"no connection to {place}: {_reason(error)}", code="NoConnection") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionFailedError(f"the connection broke: {_reason(error)}", code="Disconnected") from error


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return getattr(inner, "strerror", None) or type(inner).__name__
