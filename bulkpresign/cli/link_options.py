"""The options of `sign` that become settings of the links, with the names of LinkOptions."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bulkpresign.cli.options import Decorator, in_section, together
from bulkpresign.errors import ParameterError

if TYPE_CHECKING:
    from bulkpresign.signing.options import LinkOptions

_get_option = in_section("GET links (a column of the same name, with _ for -, overrides it for one row)")
_put_option = in_section("PUT links: signed headers, which must be sent (columns as above)")


def _response_header(name: str) -> Decorator:
    return _get_option(name, metavar="VALUE", help="Set this response header.")


def _header(name: str) -> Decorator:
    return _put_option(name, metavar="VALUE", help="Set this header.")


link_settings = together(
    _get_option("--filename", metavar="NAME", help="The file name in a browser; {name} is the key's last segment."),
    _response_header("--response-content-type"),
    _response_header("--response-content-disposition"),
    _response_header("--response-content-encoding"),
    _response_header("--response-content-language"),
    _response_header("--response-cache-control"),
    _response_header("--response-expires"),
    _get_option(
        "--request-payer",
        flag_value="requester",
        help="The signer pays for requests and traffic. For links of any method.",
    ),
    _get_option(
        "--checksum-mode",
        flag_value="ENABLED",
        help="Sign the header x-amz-checksum-mode: S3 then sends the object's checksum, and get verifies it. Such "
        "links don't open in a browser, only with tools that send the headers of their rows. For HEAD links as well.",
    ),
    _put_option("--content-type", metavar="TYPE", help="The content type of rows without one."),
    _header("--cache-control"),
    _header("--content-disposition"),
    _header("--content-encoding"),
    _put_option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Any other header. Repeatable."),
    _put_option(
        "--metadata", multiple=True, metavar="K=V", help="User metadata. Repeatable. As a column: a JSON object."
    ),
    _put_option("--storage-class", metavar="CLASS", help="The storage class, such as STANDARD_IA or GLACIER_IR."),
    _put_option("--tagging", metavar="'K=V&K2=V2'", help="Tags, quoted as in a url."),
    _put_option("--acl", metavar="ACL", help="A canned ACL, such as bucket-owner-full-control."),
    _put_option("--sse", metavar="AES256|aws:kms", help="The encryption on the server."),
    _put_option("--sse-kms-key-id", metavar="ID", help="The KMS key for aws:kms."),
    _put_option(
        "--sse-customer-key",
        type=Path,
        metavar="FILE",
        help="A file with your own key: 32 bytes, or their base64. For GET links as well.",
    ),
    _put_option("--if-none-match", flag_value="*", help="Overwrite nothing: If-None-Match: *"),
    _put_option(
        "--checksum",
        metavar="ALGORITHM",
        help="Sign the checksum of each file in --from: crc64nvme crc32c crc32 sha256 sha1.",
    ),
    _put_option(
        "--from",
        "folder",
        metavar="DIR",
        help="The folder with the files for --checksum; the links accept only these files.",
    ),
)


def pop_link_options(settings: dict[str, Any]) -> "LinkOptions":
    """Removes the link options from a command's settings and returns them. Raises ParameterError."""
    from bulkpresign.signing.options import LinkOptions

    options = {name: settings.pop(name) for name in LinkOptions.__struct_fields__}
    options["metadata"] = _metadata_map(options["metadata"])
    options["sse_customer_key"] = _customer_key_of(options["sse_customer_key"])
    return LinkOptions(**options)


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
    """The customer's key in a file, in base64. Messages never show the content of the file."""
    from bulkpresign.signing.values import CUSTOMER_KEY_BYTES, customer_key

    if file is None:
        return None
    try:
        with file.open("rb") as stream:
            return customer_key(stream.read(4096))
    except OSError as error:  # not by its name: what is given may be the key itself
        advice = f"name a file that holds the key, {CUSTOMER_KEY_BYTES} bytes or their base64"
        raise ParameterError(f"sse-customer-key: {error.strerror}: {advice}") from error
    except ParameterError as error:
        raise ParameterError(f"{file}: {error}") from error
