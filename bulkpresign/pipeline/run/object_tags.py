"""The tags of objects, read and written with credentials.

Some servers ignore `?tagging`: a GET is then answered with the object, and a PUT would replace it. So tags are written
only after the server has answered such a GET with the tags of the object, or that it has none.
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
    TruncatedError,
)
from bulkpresign.http.client import HttpClient
from bulkpresign.model import BatchMethod, Link, ObjectRef, without_query
from bulkpresign.pipeline.sources.renewals import bare
from bulkpresign.signing.options import PAYER
from bulkpresign.signing.preserved import operation_query
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.coordinator import Settled
from bulkpresign.transfer.uploads.store import STORED, md5_header

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_BEGIN, _END = b"<Tagging", b"</Tagging>"
#: Settings of an object's link that the request for its tags needs as well: the version, the owner, and who pays.
_KEPT = frozenset({PAYER, "x-amz-expected-bucket-owner", "versionid"})
#: The statuses with which a server does not support tags, refuses a request as not valid, and denies it.
_UNSUPPORTED, _INVALID, _DENIED = frozenset({405, 501}), 400, 403
_NO_TAGS = "NoSuchTagSet"
#: Headers of responses with objects, which are those of servers that ignore `?tagging`.
_OF_OBJECTS = frozenset({"etag", "last-modified"})


async def read_tags(presigner: Presigner, http: HttpClient, link: Link) -> str | None:
    """The tags of the object of a GET link, as `name=value&name=value`, quoted. Sends one request.

    None where the server does not tell them, and for a link that leads elsewhere than one that is signed here. Raises
    TransferError where another attempt may tell them.
    """
    if not (link.object.bucket and link.object.key):
        return None
    try:
        own = await link_for_tags(presigner, link.object, _kept(link.headers), _kept(operation_query(link.url)))
        return await ask_tags(http, own) if without_query(own.url) == without_query(link.url) else None
    except RefusedError:
        return None
    except LinkExpiredError as error:
        raise _of_credentials(error) from error


async def settle_tags(
    presigner: Presigner, http: HttpClient, given: str | None, ref: ObjectRef, tags: str | None
) -> Settled:
    """Makes sure that an object has `tags`, or those that are `given` to all objects, and writes them if it has others.

    See `transfer.coordinator.Settled`. Raises TransferError.
    """
    wanted = given or tags
    if not wanted:
        return "kept"
    bare_ref = ObjectRef(ref.bucket, ref.key)
    try:
        found = await ask_tags(http, await link_for_tags(presigner, bare_ref), ref.size)
    except RefusedError as error:
        if error.status == _DENIED:
            return "denied"
        raise
    if found is None:
        return "unsupported"
    return "kept" if _pairs(found) == _pairs(wanted) else await _written(presigner, http, bare_ref, wanted)


async def _written(presigner: Presigner, http: HttpClient, ref: ObjectRef, tags: str) -> Settled:
    """Replaces the tags of an object."""
    body = _document_of(tags)
    link = await link_for_tags(presigner, ref, md5_header(digest_of("md5", body)), method="PUT")
    async with http.request(link, {"Content-Length": str(len(body))}, body) as response:
        said = await response.read()
        if response.status in STORED and b"<Error>" not in said:
            return "kept"
        if response.status in _UNSUPPORTED:
            return "unsupported"
        error = await response.error(link, said)
    if isinstance(error, RefusedError) and error.status == _INVALID:
        return "refused"
    raise error


async def link_for_tags(
    presigner: Presigner,
    ref: ObjectRef,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    method: BatchMethod = "GET",
) -> Link:
    """A link for the tags of an object. Raises LinkExpiredError where credentials ended, RefusedError for its row."""
    ref = bare(ref)
    try:
        await presigner.prepare([ref])
        return presigner.sign_batch([ref], method, headers=headers, query={"tagging": "", **(query or {})})[0]
    except CredentialsError as error:
        raise LinkExpiredError(f"a link for its tags can't be signed: {error}", code="RenewalFailed") from error
    except InputError as error:
        raise RefusedError(f"a link for its tags can't be signed: {error}", code="NotSigned") from error


async def ask_tags(http: HttpClient, link: Link, size: int | None = None) -> str | None:
    """The tags by the response to a link for them, in the order of their names. None for a server that knows no tags.

    `size` is that of the object, if it is known. Raises TransferError, among them RefusedError where they are not told.
    """
    async with http.request(link) as response:
        said = await response.read()
        if response.status == 200:
            if not said and response.length:
                raise TruncatedError("the response with the tags ended early", code="Truncated")
            if not _OF_OBJECTS.isdisjoint(response.headers):
                return None
            if not said:  # from Ceph: an object that was uploaded in parts has no tags; else it may be an empty object
                return "" if size else None
            return _tags_in(said)
        if response.status in _UNSUPPORTED:
            return None
        error = await response.error(link, said)
    if error.code == _NO_TAGS:
        return ""
    if isinstance(error, RefusedError) and error.status == _INVALID:
        return None
    raise error


def _kept(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name.lower() in _KEPT}


def _of_credentials(error: LinkExpiredError) -> RefusedError:
    """The same error of another type: for LinkExpiredError, the links of the copy would be renewed."""
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
    return urlencode(sorted(pairs), quote_via=quote, safe="")


def _pairs(tags: str) -> list[tuple[str, str]]:
    return sorted(parse_qsl(tags, keep_blank_values=True))


def _document_of(tags: str) -> bytes:
    """The body of a request that replaces tags."""
    tag_set = "".join(f"<Tag><Key>{_text(key)}</Key><Value>{_text(value)}</Value></Tag>" for key, value in _pairs(tags))
    return f'<Tagging xmlns="{_NAMESPACE}"><TagSet>{tag_set}</TagSet></Tagging>'.encode()


def _text(value: str) -> str:
    return escape(value, {"\r": "&#13;"})  # a plain one is read as a line feed
