"""The tags of objects, read and written with credentials.

Some servers ignore `?tagging`: a GET is then answered with the object, and a PUT would replace it. So tags are written
only where a server told tags before.
Source: docs "GetObjectTagging", "PutObjectTagging".
"""

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from bulkpresign.checksums import digest_of
from bulkpresign.errors import (
    CredentialsError,
    InputError,
    LinkExpiredError,
    RefusedError,
    TransferError,
    TruncatedError,
)
from bulkpresign.http.client import HttpClient
from bulkpresign.model import BatchMethod, Link, ObjectRef, without_query
from bulkpresign.pipeline.sources.renewals import bare
from bulkpresign.signing.options import PAYER
from bulkpresign.signing.preserved import operation_query
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.uploads.store import STORED, md5_header

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_BEGIN, _END = b"<Tagging", b"</Tagging>"
#: What a request for tags has from the link of their object: its version, and who pays.
_KEPT = frozenset({PAYER, "x-amz-expected-bucket-owner", "versionid"})
#: The statuses of servers that write no tags.
_WRITES_NONE = frozenset({400, 405, 501})


async def read_tags(presigner: Presigner, http: HttpClient, link: Link) -> str | None:
    """The tags of the object of a GET link, as `name=value&name=value`, quoted. Sends one request.

    None where the server does not tell them, and for a link that leads elsewhere than one that is signed here. Raises
    TransferError where another attempt may tell them.
    """
    if not (link.object.bucket and link.object.key):
        return None
    try:
        own = await _signed(presigner, bare(link.object), "GET", _kept(link.headers), _kept(operation_query(link.url)))
    except RefusedError:  # a row that can't be signed here
        return None
    return await _told(http, own, nothing=None) if without_query(own.url) == without_query(link.url) else None


async def settle_tags(
    presigner: Presigner, http: HttpClient, given: str | None, ref: ObjectRef, tags: str | None
) -> bool:
    """Makes sure that an object has `tags`, or those that are `given` to all objects, and writes them if it has others.

    False for a server that tells no tags, or takes none. Raises TransferError.
    """
    wanted = given or tags
    if not wanted:
        return True
    ref = ObjectRef(ref.bucket, ref.key)
    # Ceph answers with nothing for an object that was uploaded in parts and has no tags
    found = await _told(http, await _signed(presigner, ref, "GET", {}, {}), nothing="")
    if found is None or _pairs(found) == _pairs(wanted):
        return found is not None
    body = _document_of(wanted)
    link = await _signed(presigner, ref, "PUT", md5_header(digest_of("md5", body)), {})
    async with http.request(link, {"Content-Length": str(len(body))}, body) as response:
        said = await response.read()
        if response.status in STORED and b"<Error>" not in said:
            return True
        if response.status in _WRITES_NONE:
            return False
        raise _not_of_a_link(await response.error(link, said))


def _kept(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name.lower() in _KEPT}


async def _signed(
    presigner: Presigner, ref: ObjectRef, method: BatchMethod, headers: Mapping[str, str], query: Mapping[str, str]
) -> Link:
    """A link for the tags of an object. Raises LinkExpiredError where credentials ended, RefusedError for its row."""
    try:
        await presigner.prepare([ref])
        return presigner.sign_batch([ref], method, headers=headers, query={"tagging": "", **query})[0]
    except CredentialsError as error:
        raise LinkExpiredError(f"a link for its tags can't be signed: {error}", code="RenewalFailed") from error
    except InputError as error:
        raise RefusedError(f"a link for its tags can't be signed: {error}", code="NotSigned") from error


async def _told(http: HttpClient, link: Link, *, nothing: str | None) -> str | None:
    """The tags by the response to a link for them, None where the server does not tell them.

    `nothing` is what an empty response means. One with an etag is the object itself.
    """
    async with http.request(link) as response:
        said = await response.read()
        if response.status == 200:
            if not said and response.length:
                raise TruncatedError("the response with the tags ended early", code="Truncated")
            if response.etag is not None:
                return None
            return _tags_in(said) if said else nothing
        error = await response.error(link, said)
    if isinstance(error, RefusedError):
        return None
    raise _not_of_a_link(error)


def _not_of_a_link(error: TransferError) -> TransferError:
    """The same error; not LinkExpiredError, for which the links of the copy would be renewed."""
    if not isinstance(error, LinkExpiredError):
        return error
    return RefusedError(f"the credentials for its tags: {error}", code=error.code, status=error.status)


def _tags_in(said: bytes) -> str | None:
    """The tags in a response, None for another one. Raises TruncatedError for a part of a response."""
    try:
        found = ElementTree.fromstring(said)  # noqa: S314 - 64 KiB at most, and expat bounds what entities become
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        if _BEGIN in said[:1024] and _END not in said:
            raise TruncatedError("the response with the tags ended early", code="Truncated") from error
        return None
    tag_set = found.find("{*}TagSet")
    if found.tag.rpartition("}")[2] != "Tagging" or tag_set is None:
        return None
    pairs = [(tag.findtext("{*}Key") or "", tag.findtext("{*}Value") or "") for tag in tag_set.iterfind("{*}Tag")]
    return urlencode(pairs, quote_via=quote, safe="")


def _pairs(tags: str) -> list[tuple[str, str]]:
    return sorted(parse_qsl(tags, keep_blank_values=True))


def _document_of(tags: str) -> bytes:
    """The body of a request that replaces tags."""
    tag_set = "".join(f"<Tag><Key>{_text(key)}</Key><Value>{_text(value)}</Value></Tag>" for key, value in _pairs(tags))
    return f'<Tagging xmlns="{_NAMESPACE}"><TagSet>{tag_set}</TagSet></Tagging>'.encode()


def _text(value: str) -> str:
    return escape(value, {"\r": "&#13;"})  # a plain one is read as a line feed
