"""Fresh links for expired ones: signed again, or requested from a command or a url.

All three have one interface, `transfer.engine.jobs.Renew`: a fresh link for each old one, or None where there is none.
What comes from outside is checked like a manifest: it must be for the same object, the same method, and alive.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

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
from bulkpresign.manifest.uploads import UPLOAD_COLUMNS, upload_id_of
from bulkpresign.model import BatchMethod, Link, ObjectRef, utc_now
from bulkpresign.redact import redacted
from bulkpresign.signing.preserved import operation_query
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.values import REGION
from bulkpresign.tables.rows import rows_of_mappings
from bulkpresign.transfer.downloads.responses import CHECKSUM_MODE
from bulkpresign.transfer.engine.jobs import Renew

#: Seconds for one batch of a renewal command, or one answer of a renewal url.
RENEW_TIMEOUT = 60.0
#: Bytes of an answer; a batch of links needs about one MiB.
MOST_OUTPUT = 64 << 20


def renewal(
    presigner: Presigner | None, command: str | None, url: str | None, http: HttpClient, clock: Clock | None = None
) -> Renew | None:
    """The one source of fresh links that was given, None for none. Raises ParameterError for two.

    `clock` tells the time of the server that the links are for.
    """
    given = [
        by_signing(presigner) if presigner is not None else None,
        by_command(command, clock) if command is not None else None,
        by_url(url, http, clock) if url is not None else None,
    ]
    found = [renew for renew in given if renew is not None]
    if len(found) > 1:
        raise ParameterError("fresh links come from one place: credentials, a command or a url")
    return found[0] if found else None


class ChecksumMode:
    """The header by which links that we sign ask S3 for an object's checksum, which it sends on request alone.

    A server that does not know the header may refuse it; after that it is left out.
    """

    def __init__(self) -> None:
        self.headers: Mapping[str, str] = {CHECKSUM_MODE: "ENABLED"}

    def refuse(self) -> None:
        """Leaves it out of all links from now on."""
        self.headers = {}


def by_signing(presigner: Presigner, checksum_mode: ChecksumMode | None = None) -> Renew:
    """Signs anew, with the headers and response overrides that the old links have; see `ChecksumMode`."""

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        if checksum_mode is not None and not checksum_mode.headers:
            links = [_without_checksum_mode(link) for link in links]
        try:
            return [await signed_again(presigner, link) for link in links]
        except CredentialsError as error:
            raise _failed(f"it can't be signed again: {error}") from error

    return renew


def _without_checksum_mode(link: Link) -> Link:
    headers = {name: value for name, value in link.headers.items() if name.lower() != CHECKSUM_MODE}
    return msgspec.structs.replace(link, headers=headers)


async def signed_again(presigner: Presigner, link: Link) -> Link | None:
    """The same permission for a new time, None where it can't be signed. Raises CredentialsError."""
    if not (link.object.bucket and link.object.key):
        return None
    query = operation_query(link.url)
    headers = {name: value for name, value in link.headers.items() if name.lower() != "host"}
    try:
        await presigner.prepare([ref := _bare(link.object)])
        (fresh_link,) = presigner.sign_batch([ref], cast("BatchMethod", link.method), headers=headers, query=query)
    except (ParameterError, RegionError, SigningError):  # a row of others can name what can't be signed
        return None
    return msgspec.structs.replace(fresh_link, object=link.object)


def _bare(ref: ObjectRef) -> ObjectRef:
    """The object without what is signed already: that stands in the old link's headers and query."""
    region = (ref.extra or {}).get(REGION)
    return msgspec.structs.replace(ref, content_type=None, checksum=None, extra=region and {REGION: region})


def by_command(command: str, clock: Clock | None = None) -> Renew:
    """Runs a command once a batch: link rows as JSONL on its standard input, fresh rows on its standard output.

    Raises LinkExpiredError where it fails, hangs, or answers with what is no manifest of links.
    """

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        response = await _run(command, _rows(links))
        return _matched(links, response, "the renewal command", clock)

    return renew


def by_url(url: str, http: HttpClient, clock: Clock | None = None) -> Renew:
    """POSTs link rows as JSONL to a url, which answers with fresh rows. Raises LinkExpiredError where it does not."""
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
    if any(upload_id_of(link.object) for link in links):
        extras = [link.object.extra or {} for link in links]
        columns |= {name: [extra.get(name) for extra in extras] for name in UPLOAD_COLUMNS}
    return jsonl_rows(columns)


async def _run(command: str, rows: bytes) -> bytes:
    """A command's output. The whole group of its processes is killed where it takes too long or we are cancelled."""
    try:
        with anyio.CancelScope(shield=True):  # cut off here, it would be ended without its children
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
        with anyio.CancelScope(shield=True):
            await process.aclose()
    if len(output) > MOST_OUTPUT:
        raise _failed("the renewal command prints without end")
    if code:
        raise _failed(f"the renewal command failed with exit code {code}")
    return output


async def _talk(process: anyio.abc.Process, rows: bytes) -> tuple[bytes, int]:
    """Writes and reads at once, for either side may wait for the other. Gives its output and exit code."""
    output = bytearray()

    async def read() -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        async for chunk in process.stdout:
            output.extend(chunk)
            if len(output) > MOST_OUTPUT:
                _kill_group(process)
                return

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(anyio.BrokenResourceError, OSError):  # it need not read everything
            await process.stdin.send(rows)
        with suppress(anyio.BrokenResourceError, OSError):
            await process.stdin.aclose()
    return bytes(output), await process.wait()


def _kill_group(process: anyio.abc.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)


def _failed(message: str) -> LinkExpiredError:
    return LinkExpiredError(message, code="RenewalFailed")


def _name(link: Link) -> tuple[str, ...]:
    extra = link.object.extra or {}
    return (identity(link), link.method, *(str(extra.get(name) or "") for name in ("upload_id", "part_number")))


def _matched(links: Sequence[Link], response: bytes, who: str, clock: Clock | None) -> list[Link | None]:
    """The fresh link of each link, by bucket, key, version, path, upload and part; one for another is nobody's.

    One that is over is as good as none, unless the clock by which it is over may be wrong.
    """
    try:
        mappings = [msgspec.json.decode(line, type=dict) for line in response.splitlines() if line.strip()]
        fresh_link = links_of(rows_of_mappings(who, mappings, range(1, len(mappings) + 1)))
    except (msgspec.MsgspecError, UnicodeDecodeError, ManifestError) as error:
        raise _failed(f"{who} answered with what is no list of links: {redacted(str(error))}") from error
    now = utc_now() if clock is None else clock.now()
    trusts_clock = clock is None or clock.is_set
    alive = {_name(link): link for link in fresh_link if not (trusts_clock and link.expires_by(now))}
    found = [alive.get(_name(link)) for link in links]
    return [
        msgspec.structs.replace(new, object=old.object) if new else None for old, new in zip(links, found, strict=True)
    ]
