"""Fresh links for those whose lease is over: signed again, or asked of a command or a url.

All three are one interface (`transfer.leases.Renew`): links in, and for each a fresh one, or None where there is none.
What comes from outside is checked like a manifest: it must be for the same object, the same method, and alive.
"""

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

import anyio
import msgspec

from bulkpresign.errors import CredentialsError, LinkExpiredError, ManifestError, ParameterError, TransferError
from bulkpresign.ledger.journal import identity
from bulkpresign.manifest.links import links_of
from bulkpresign.manifest.rows import jsonl_rows, link_columns
from bulkpresign.model import Link, utc_now
from bulkpresign.signing.presigner import Presigner
from bulkpresign.tables.rows import rows_of_mappings
from bulkpresign.transfer.http import Http
from bulkpresign.transfer.leases import Renew

#: Seconds for one batch of a renewal command, or one answer of a renewal url.
RENEW_TIMEOUT = 60.0
_MOST_OUTPUT = 64 << 20


def renewal(presigner: Presigner | None, command: str | None, url: str | None, http: Http) -> Renew | None:
    """The one source of fresh links that was given, None for none. Raises ParameterError for two."""
    given = [
        by_signing(presigner) if presigner is not None else None,
        by_command(command) if command is not None else None,
        by_url(url, http) if url is not None else None,
    ]
    found = [renew for renew in given if renew is not None]
    if len(found) > 1:
        raise ParameterError("fresh links come from one place: credentials, a command or a url")
    return found[0] if found else None


def by_signing(presigner: Presigner) -> Renew:
    """Signs anew, with the headers and response overrides that the old links have."""

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        try:
            await presigner.refresh()
            return [_signed_again(presigner, link) for link in links]
        except CredentialsError as error:
            raise LinkExpiredError(f"it can't be signed again: {error}", code="RenewalFailed") from error

    return renew


def _signed_again(presigner: Presigner, link: Link) -> Link | None:
    if not (link.object.bucket and link.object.key):
        return None
    overrides = {name: value for name, value in parse_qsl(urlsplit(link.url).query) if name.startswith("response-")}
    ref = msgspec.structs.replace(link.object, content_type=None)  # where it was signed, it is among the headers
    (fresh,) = presigner.sign_batch([ref], link.method, headers=link.headers, query=overrides)
    return msgspec.structs.replace(fresh, object=link.object)


def by_command(command: str) -> Renew:
    """Runs a command once a batch: link rows as JSONL on its standard input, fresh rows on its standard output.

    Raises LinkExpiredError where it fails, hangs, or answers with what is no manifest of links.
    """

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        answer = await _run(command, _rows(links))
        return _matched(links, answer, "the renewal command")

    return renew


def by_url(url: str, http: Http) -> Renew:
    """POSTs link rows as JSONL to a url, which answers with fresh rows. Raises LinkExpiredError where it does not."""
    target = Link("POST", url, {"Content-Type": "application/jsonl"})

    async def renew(links: Sequence[Link]) -> list[Link | None]:
        try:
            with anyio.fail_after(RENEW_TIMEOUT):
                async with http.request(target, body=_rows(links)) as answer:
                    if answer.status != 200:
                        raise LinkExpiredError(f"the renewal url answered {answer.status}", code="RenewalFailed")
                    body = b""
                    while len(body) < _MOST_OUTPUT and (chunk := await answer.read()):
                        body += chunk
        except TimeoutError:
            raise LinkExpiredError("the renewal url did not answer in time", code="RenewalFailed") from None
        except LinkExpiredError:
            raise
        except TransferError as error:
            raise LinkExpiredError(f"the renewal url can't be asked: {error}", code="RenewalFailed") from error
        return _matched(links, body, "the renewal url")

    return renew


def _rows(links: Sequence[Link]) -> bytes:
    return jsonl_rows(link_columns(links))


async def _run(command: str, rows: bytes) -> bytes:
    """A command's output. The whole group of its processes is killed where it takes too long or we are cancelled."""
    process = await anyio.open_process(command, stderr=None, start_new_session=True)
    try:
        with anyio.fail_after(RENEW_TIMEOUT):
            output, code = await _talk(process, rows)
    except TimeoutError:
        raise LinkExpiredError(
            f"the renewal command did not end in {RENEW_TIMEOUT:.0f} s", code="RenewalFailed"
        ) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()
    if code:
        raise LinkExpiredError(f"the renewal command failed with exit code {code}", code="RenewalFailed")
    return output


async def _talk(process: anyio.abc.Process, rows: bytes) -> tuple[bytes, int]:
    """Writes and reads at once, for either side may wait for the other."""
    output: list[bytes] = []

    async def read() -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        size = 0
        async for chunk in process.stdout:
            size += len(chunk)
            if size > _MOST_OUTPUT:
                raise LinkExpiredError("the renewal command prints without end", code="RenewalFailed")
            output.append(chunk)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        with suppress(anyio.BrokenResourceError, BrokenPipeError, ConnectionError):  # it need not read everything
            await process.stdin.send(rows)
        with suppress(anyio.BrokenResourceError, BrokenPipeError, ConnectionError):
            await process.stdin.aclose()
    return b"".join(output), await process.wait()


def _matched(links: Sequence[Link], answer: bytes, who: str) -> list[Link | None]:
    """The fresh link of each link, by bucket, key, version and path; one for another object is nobody's."""
    try:
        mappings = [msgspec.json.decode(line, type=dict) for line in answer.splitlines() if line.strip()]
        fresh = links_of(rows_of_mappings(who, mappings, range(1, len(mappings) + 1)))
    except (msgspec.MsgspecError, UnicodeDecodeError, ManifestError) as error:
        raise LinkExpiredError(
            f"{who} answered with what is no list of links: {error}", code="RenewalFailed"
        ) from error
    now = utc_now()
    alive = {(identity(link), link.method): link for link in fresh if not link.lapsed(now)}
    found = [alive.get((identity(link), link.method)) for link in links]
    return [
        msgspec.structs.replace(new, object=old.object) if new else None for old, new in zip(links, found, strict=True)
    ]
