"""Fresh links for expired ones: signed again, or requested from a command or a url.

All three have one interface, `transfer.engine.jobs.Renew`: a fresh link for each old one, or None if there is none.
Links from a command or a url are checked like a manifest: they must be for the same object and method, and not expired.
"""

import os
import re
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import msgspec

from bulkpresign.errors import (
    CredentialsError,
    LinkExpiredError,
    ManifestError,
    ParameterError,
    RegionError,
    SigningError,
    TransferError,
)
from bulkpresign.http.client import HttpClient
from bulkpresign.http.clock import Clock
from bulkpresign.http.connection import Chunk
from bulkpresign.http.response import Response
from bulkpresign.ledger.identity import identity
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.rows import jsonl_rows, link_columns
from bulkpresign.manifest.uploads import UPLOAD_COLUMNS
from bulkpresign.model import BatchMethod, Link, ObjectRef, utc_now
from bulkpresign.redact import redacted
from bulkpresign.signing.preserved import operation_query
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.values import REGION
from bulkpresign.tables.rows import rows_of_mappings
from bulkpresign.transfer.downloads.responses import CHECKSUM_MODE, without_checksum_mode
from bulkpresign.transfer.engine.jobs import Renew

#: Seconds for one run of a renewal command, or one response of a renewal url.
RENEW_TIMEOUT = 60.0
#: The most bytes of a response, or of the output of a command. A batch of links needs about 1 MiB.
MOST_OUTPUT = 64 << 20
#: Seconds to read what a killed command left in its pipe. A process that left its group may hold the pipe open.
CLOSE_TIMEOUT = 5.0
#: Raised for links that can't be signed: a row from elsewhere may have values that are not valid.
_NOT_SIGNED = (ParameterError, RegionError, SigningError)
#: AWS has several host names for one bucket.
_AWS = re.compile(r"\.amazonaws\.com(\.cn)?(:\d+)?\Z")


def renewal(
    presigner: Presigner | None, command: str | None, url: str | None, http: HttpClient, clock: Clock | None = None
) -> Renew | None:
    """The given source of fresh links, or None if none is given. Raises ParameterError for more than one.

    `clock` has the time of the server that the links are for.
    """
    given = [
        by_credentials(presigner) if presigner is not None else None,
        by_command(command, clock) if command is not None else None,
        by_url(url, http, clock) if url is not None else None,
    ]
    found = [renew for renew in given if renew is not None]
    if len(found) > 1:
        raise ParameterError("fresh links come from one place: credentials, a command or a url")
    return found[0] if found else None


class ChecksumMode:
    """The header that requests an object's checksum, in the links that we sign. S3 sends a checksum only on request.

    A server that does not know the header may refuse it; then links are signed without it.
    """

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = {CHECKSUM_MODE: "ENABLED"}

    def refuse(self) -> None:
        """Removes the header from all links that are signed from now on."""
        self.headers = {}


def by_signing(presigner: Presigner, checksum_mode: ChecksumMode | None = None) -> Renew:
    """Renews links by signing them again, with their own headers and response overrides; see `ChecksumMode`."""

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        if checksum_mode is not None and not checksum_mode.headers:
            links = [msgspec.structs.replace(link, headers=without_checksum_mode(link.headers)) for link in links]
        try:
            await _prepare(presigner, links)
            return [_signed_again(presigner, link) for link in links]
        except CredentialsError as error:
            raise _failed(f"it can't be signed again: {error}") from error

    return renew


def by_credentials(presigner: Presigner) -> Renew:
    """Renews given links by signing them again. One of a server that is not the Presigner's has no fresh link.

    A table can have links of several servers, and a bucket's name says nothing of its server: an object would be read
    from the wrong one, or be written to it.
    """
    sign = by_signing(presigner)

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        fresh_links = await sign(links)
        return [
            fresh_link if fresh_link is not None and _server_of(fresh_link) == _server_of(link) else None
            for link, fresh_link in zip(links, fresh_links, strict=True)
        ]

    return renew


def _server_of(link: Link) -> str:
    """The host and port of a link's server, without the bucket's name. The servers of AWS are one."""
    address = urlsplit(link.url).netloc.rpartition("@")[2].lower()
    if _AWS.search(address):
        return "AWS"
    return address.removeprefix(f"{link.object.bucket.lower()}.")


async def signed_again(presigner: Presigner, link: Link) -> Link | None:
    """Signs the same request with a new expiry; None if it can't be signed. Raises CredentialsError."""
    await _prepare(presigner, [link])
    return _signed_again(presigner, link)


async def _prepare(presigner: Presigner, links: Sequence[Link]) -> None:
    """Loads the credentials, once for all links: that may run a program. Finds regions. Raises CredentialsError."""
    refs = [link.object for link in links if link.object.key and not (link.object.extra or {}).get(REGION)]
    with suppress(*_NOT_SIGNED):  # the links of a bucket whose region is not found can't be signed, the others can
        await presigner.refresh({ref.bucket for ref in refs if ref.bucket})


def _signed_again(presigner: Presigner, link: Link) -> Link | None:
    if not (link.object.bucket and link.object.key):
        return None
    query = operation_query(link.url)
    headers = {name: value for name, value in link.headers.items() if name.lower() != "host"}
    try:
        refs, method = [bare(link.object)], cast("BatchMethod", link.method)
        (fresh_link,) = presigner.sign_batch(refs, method, headers=headers, query=query)
    except _NOT_SIGNED:
        return None
    return msgspec.structs.replace(fresh_link, object=link.object)


def bare(ref: ObjectRef) -> ObjectRef:
    """The object without content type, checksum and options: the old link has them in its headers and query."""
    region = (ref.extra or {}).get(REGION)
    return msgspec.structs.replace(ref, content_type=None, checksum=None, extra=region and {REGION: region})


def by_command(command: str, clock: Clock | None = None) -> Renew:
    """Renews links by a command that runs once for each batch.

    It gets link rows as JSONL on its standard input and writes fresh rows to its standard output. Raises
    LinkExpiredError if it fails, does not end in time, or its output is not a manifest of links.
    """

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        response = await _run(command, _rows(links))
        return _matched(links, response, "the renewal command", clock)

    return renew


def by_url(url: str, http: HttpClient, clock: Clock | None = None) -> Renew:
    """Renews links by a POST of link rows as JSONL to a url, whose response has fresh rows.

    Raises LinkExpiredError if the request fails, or the response is not a manifest of links.
    """
    target = Link("POST", url, {"Content-Type": "application/jsonl"})

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        try:
            with anyio.fail_after(RENEW_TIMEOUT):
                async with http.request(target, body=_rows(links)) as response:
                    body = await _body(response)
        except TimeoutError:
            raise _failed(f"the renewal url did not answer in {RENEW_TIMEOUT:g} s") from None
        except LinkExpiredError:
            raise
        except TransferError as error:
            raise _failed(f"the renewal url can't be asked: {error}") from error
        return _matched(links, body, "the renewal url", clock)

    return renew


async def _body(response: Response) -> bytes:
    if response.status != 200:
        raise _failed(f"the renewal url answered {response.status}")
    body = bytearray()

    def take(chunk: Chunk) -> bool:
        body.extend(chunk)
        return len(body) > MOST_OUTPUT

    if await response.stream_to(take):
        raise _failed("the renewal url answers without end")
    return bytes(body)


def _rows(links: Sequence[Link]) -> bytes:
    columns = link_columns(links)
    uploads = [_upload_columns(link) for link in links]
    if any(upload_id for upload_id, *_ in uploads):
        columns |= dict(zip(UPLOAD_COLUMNS, zip(*uploads, strict=True), strict=True))
    return jsonl_rows(columns)


def _upload_columns(link: Link) -> tuple[Any, ...]:
    """The values of a link in UPLOAD_COLUMNS.

    The object of a GET link may have values, too: those of its copy in parts. The link belongs to no upload.
    """
    extra = {} if link.method == "GET" else link.object.extra or {}
    return tuple(extra.get(name) for name in UPLOAD_COLUMNS)


async def _run(command: str, rows: bytes) -> bytes:
    """The output of a command. Its process group is killed if it takes too long or this task is cancelled."""
    try:
        with anyio.CancelScope(shield=True):  # a cancellation here would leave its child processes running
            process = await anyio.open_process(command, stderr=None, start_new_session=True)
    except OSError as error:
        raise _failed(f"the renewal command can't be started: {error.strerror}") from error
    try:
        with anyio.fail_after(RENEW_TIMEOUT):
            output, code = await _talk(process, rows)
    except TimeoutError:
        raise _failed(f"the renewal command did not end in {RENEW_TIMEOUT:g} s") from None
    finally:
        _kill_group(process)
        with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await _close(process)
    if code:
        raise _failed(f"the renewal command failed with exit code {code}")
    return output


async def _talk(process: anyio.abc.Process, rows: bytes) -> tuple[bytes, int]:
    """Writes and reads at the same time, because either side may wait for the other. Returns output and exit code."""
    output = bytearray()

    async def read() -> None:
        assert process.stdout is not None  # noqa: S101 - opened as a pipe
        async for chunk in process.stdout:
            output.extend(chunk)
            if len(output) > MOST_OUTPUT:
                _kill_group(process)
                return

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        assert process.stdin is not None  # noqa: S101 - opened as a pipe
        with suppress(anyio.BrokenResourceError, OSError):  # the command need not read all rows
            await process.stdin.send(rows)
        with suppress(anyio.BrokenResourceError, OSError):
            await process.stdin.aclose()
    if len(output) > MOST_OUTPUT:
        raise _failed("the renewal command prints without end")
    return bytes(output), await process.wait()


async def _close(process: anyio.abc.Process) -> None:
    """Reads what a killed process left in its pipe: until then asyncio neither closes the pipe nor ends a wait."""
    assert process.stdout is not None  # noqa: S101 - opened as a pipe
    async for _ in process.stdout:
        pass
    await process.aclose()


def _kill_group(process: anyio.abc.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the process has ended
        os.killpg(process.pid, signal.SIGKILL)


def _failed(message: str) -> LinkExpiredError:
    return LinkExpiredError(message, code="RenewalFailed")


def _name(link: Link) -> tuple[str, ...]:
    upload_id, part_number, _ = _upload_columns(link)
    return identity(link), link.method, str(upload_id or ""), str(part_number or "")


def _by_this_machine(link: Link) -> bool:
    return link.expires_by(utc_now())


def _matched(links: Sequence[Link], response: bytes, who: str, clock: Clock | None) -> list[Link | None]:
    """The fresh link of each link, matched by bucket, key, version, path, method, upload and part. Others are ignored.

    An expired link counts as missing, unless the server's time is still unknown: this machine's clock may be wrong.
    """
    try:
        mappings = [msgspec.json.decode(line, type=dict) for line in response.splitlines() if line.strip()]
        fresh_link = links_of(rows_of_mappings(who, mappings, range(1, len(mappings) + 1)))
    except (msgspec.MsgspecError, UnicodeDecodeError, ManifestError) as error:
        raise _failed(f"{who} answered with what is no list of links: {redacted(str(error))}") from error
    has_expired = _by_this_machine if clock is None else clock.has_expired
    alive = {_name(link): link for link in fresh_link if not has_expired(link)}
    found = [alive.get(_name(link)) for link in links]
    return [
        msgspec.structs.replace(new, object=old.object) if new else None for old, new in zip(links, found, strict=True)
    ]
