"""The tags of objects, read and written with credentials where these lead to the same server.

Source: docs "GetObjectTagging", "PutObjectTagging".
"""

from urllib.parse import parse_qsl, quote, urlencode
from xml.etree import ElementTree

from bulkpresign.checksums import digest_of
from bulkpresign.errors import CredentialsError, InputError, LinkExpiredError, RefusedError, TruncatedError
from bulkpresign.http.client import HttpClient
from bulkpresign.model import BatchMethod, Link, ObjectRef
from bulkpresign.pipeline.sources.renewals import bare, server_of
from bulkpresign.signing.options import PAYER
from bulkpresign.signing.preserved import operation_query
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.uploads.store import STORED, md5_header

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_BEGIN, _END = b"<Tagging", b"</Tagging>"
#: What the link of an object has too: who pays for its requests.
_KEPT = frozenset({PAYER, "versionId"})


async def read_tags(presigner: Presigner, http: HttpClient, link: Link) -> str | None:
    """The tags of the object of a GET link, as `name=value&name=value`, quoted. Sends one request.

    None where the server does not tell them, and for a link of a server that is not the Presigner's. Raises
    TransferError where another attempt may tell them.
    """
    if not (link.object.bucket and link.object.key):
        return None
    query = {name: value for name, value in operation_query(link.url).items() if name in _KEPT}
    try:
        own = await _signed(presigner, bare(link.object), "GET", query)
        if server_of(own) != server_of(link):
            return None
        async with http.request(own) as response:
            said = await response.read()
            if response.status != 200:
                raise await response.error(own, said)
    except RefusedError:
        return None
    return _tags_in(said)


async def write_tags(presigner: Presigner, http: HttpClient, ref: ObjectRef, tags: str) -> None:
    """Replaces the tags of an object, by one request. Raises TransferError."""
    body = _document_of(tags)
    headers = md5_header(digest_of("md5", body))
    link = await _signed(presigner, ObjectRef(ref.bucket, ref.key), "PUT", {}, headers)
    async with http.request(link, {"Content-Length": str(len(body))}, body) as response:
        said = await response.read()
        if response.status not in STORED:
            raise await response.error(link, said)


async def _signed(
    presigner: Presigner,
    ref: ObjectRef,
    method: BatchMethod,
    query: dict[str, str],
    headers: dict[str, str] | None = None,
) -> Link:
    """A link for the tags of an object. Raises LinkExpiredError where credentials ended, RefusedError for its row."""
    try:
        await presigner.prepare([ref])
        return presigner.sign_batch([ref], method, headers=headers, query={"tagging": "", **query})[0]
    except CredentialsError as error:
        raise LinkExpiredError(f"the tags of {ref.uri} can't be asked for: {error}", code="RenewalFailed") from error
    except InputError as error:
        raise RefusedError(f"the tags of {ref.uri} can't be asked for: {error}", code="NotSigned") from error


def _tags_in(said: bytes) -> str | None:
    """The tags in a response, None for another one, such as an object of a server that ignores `tagging`.

    Raises TruncatedError for a part of a response.
    """
    try:
        found = ElementTree.fromstring(said)  # noqa: S314 - 64 KiB at most, and expat bounds what entities become
    except ElementTree.ParseError as error:
        if not said or (_BEGIN in said and _END not in said):
            raise TruncatedError("the response with the tags ended early", code="Truncated") from error
        return None
    tag_set = found.find("{*}TagSet")
    if found.tag.rpartition("}")[2] != "Tagging" or tag_set is None:
        return None
    pairs = [(tag.findtext("{*}Key") or "", tag.findtext("{*}Value") or "") for tag in tag_set.iterfind("{*}Tag")]
    return urlencode(pairs, quote_via=quote, safe="")


def _document_of(tags: str) -> bytes:
    """The body of a request that replaces tags."""
    document = ElementTree.Element("Tagging", xmlns=_NAMESPACE)
    tag_set = ElementTree.SubElement(document, "TagSet")
    for key, value in parse_qsl(tags, keep_blank_values=True):
        tag = ElementTree.SubElement(tag_set, "Tag")
        ElementTree.SubElement(tag, "Key").text = key
        ElementTree.SubElement(tag, "Value").text = value
    return ElementTree.tostring(document)
