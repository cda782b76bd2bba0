"""The options of what a link carries, for `sign`, by the names that LinkOptions has for them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulkpresign.cli.help import SectionedOption
from bulkpresign.cli.options import Decorator, together
from bulkpresign.errors import ParameterError

if TYPE_CHECKING:
    from bulkpresign.signing.options import LinkOptions

_GET = "GET links (a column of the same name, with _ for -, sets one row's own)"
_PUT = "PUT links: headers, signed and to be sent (columns as above)"


def _of_get(*names: str, **settings: Any) -> Decorator:
    return click.option(*names, cls=SectionedOption, section=_GET, **settings)


def _of_put(*names: str, **settings: Any) -> Decorator:
    return click.option(*names, cls=SectionedOption, section=_PUT, **settings)


def _response_header(name: str) -> Decorator:
    return _of_get(name, metavar="VALUE", help="This response header.")


def _header(name: str) -> Decorator:
    return _of_put(name, metavar="VALUE", help="This header.")


carried = together(
    _of_get("--filename", metavar="NAME", help="Save under this name; {name} is the key's last segment."),
    _response_header("--response-content-type"),
    _response_header("--response-content-disposition"),
    _response_header("--response-content-encoding"),
    _response_header("--response-content-language"),
    _response_header("--response-cache-control"),
    _response_header("--response-expires"),
    _of_get(
        "--request-payer",
        flag_value="requester",
        help="Whoever signs pays for requests and traffic. For links of any method.",
    ),
    _of_get(
        "--checksum-mode",
        flag_value="ENABLED",
        help="Sign the header x-amz-checksum-mode, with which S3 sends the object's checksum: get then verifies by it. "
        "Such links open in no browser, only with tools that send the headers of their rows. For HEAD links as well.",
    ),
    _of_put("--content-type", metavar="TYPE", help="Of rows that have no content_type."),
    _header("--cache-control"),
    _header("--content-disposition"),
    _header("--content-encoding"),
    _of_put("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Any other header. Repeatable."),
    _of_put("--metadata", multiple=True, metavar="K=V", help="Repeatable; as a column, a JSON object."),
    _of_put("--storage-class", metavar="CLASS", help="Such as STANDARD_IA or GLACIER_IR."),
    _of_put("--tagging", metavar="'K=V&K2=V2'", help="Tags, quoted as in a url."),
    _of_put("--acl", metavar="ACL", help="A canned one, such as bucket-owner-full-control."),
    _of_put("--sse", metavar="AES256|aws:kms", help="Encryption on the server."),
    _of_put("--sse-kms-key-id", metavar="ID", help="The key of aws:kms."),
    _of_put(
        "--sse-customer-key",
        type=Path,
        metavar="FILE",
        help="A key of your own: 32 bytes, or their base64. For GET links as well.",
    ),
    _of_put("--if-none-match", flag_value="*", help="Overwrite nothing: If-None-Match: *"),
    _of_put("--checksum", metavar="ALGORITHM", help="Of the files of --from: crc64nvme crc32c crc32 sha256 sha1."),
    _of_put("--from", "folder", metavar="DIR", help="The files to be uploaded; the links let no other bytes through."),
)


def take_link_options(settings: dict[str, Any]) -> "LinkOptions":
    """Takes out of a command's settings what its links carry. Raises ParameterError for what can't be."""
    from bulkpresign.signing.options import LinkOptions

    taken = {name: settings.pop(name) for name in LinkOptions.__struct_fields__}
    taken["metadata"] = _metadata_map(taken["metadata"])
    taken["sse_customer_key"] = _customer_key_of(taken["sse_customer_key"])
    return LinkOptions(**taken)


def _metadata_map(pairs: Iterable[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ParameterError(f"metadata {pair!r} is not of the form K=V")
        if name in found:
            raise ParameterError(f"metadata {name} is given twice")
        found[name] = value
    return found or None


def _customer_key_of(file: Path | None) -> str | None:
    """The customer's key that a file holds, in base64; no message shows what it holds."""
    from bulkpresign.signing.values import customer_key

    if file is None:
        return None
    try:
        with file.open("rb") as stream:
            return customer_key(stream.read(4096))
    except OSError as error:
        raise ParameterError(f"{file} can't be read: {error.strerror}") from error
    except ParameterError as error:
        raise ParameterError(f"{file}: {error}") from error
