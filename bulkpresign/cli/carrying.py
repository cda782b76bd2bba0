"""The options of what a link carries, for `sign`: each said once, with its place in `--help`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bulkpresign.errors import ParameterError

GET_PANEL = "GET links (a column of the same name, with _ for -, sets one row's own)"
PUT_PANEL = "PUT links: headers, signed and to be sent (columns as above)"


def _of_get(metavar: str | None, text: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False, rich_help_panel=GET_PANEL)


def _of_put(metavar: str | None, text: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False, rich_help_panel=PUT_PANEL)


Filename = Annotated[str | None, _of_get("NAME", "Save under this name; {name} is the key's last segment.")]
Override = Annotated[str | None, _of_get("VALUE", "This response header.")]
RequestPayer = Annotated[
    bool, _of_get(None, "Whoever signs pays for requests and traffic. For links of any method.", "--request-payer")
]

ContentType = Annotated[str | None, _of_put("TYPE", "Of rows that have no content_type.")]
Header = Annotated[list[str] | None, _of_put("'NAME: VALUE'", "Any other header. Repeatable.", "--header")]
Metadata = Annotated[list[str] | None, _of_put("K=V", "Repeatable; as a column, a JSON object.", "--metadata")]
HeaderValue = Annotated[str | None, _of_put("VALUE", "This header.")]
StorageClass = Annotated[str | None, _of_put("CLASS", "Such as STANDARD_IA or GLACIER_IR.")]
Tagging = Annotated[str | None, _of_put("'K=V&K2=V2'", "Tags, quoted as in a url.")]
Acl = Annotated[str | None, _of_put("ACL", "A canned one, such as bucket-owner-full-control.")]
Sse = Annotated[str | None, _of_put("AES256|aws:kms", "Encryption on the server.")]
SseKmsKeyId = Annotated[str | None, _of_put("ID", "The key of aws:kms.")]
SseCustomerKey = Annotated[
    Path | None, _of_put("FILE", "A key of your own: 32 bytes, or their base64. For GET links as well.")
]
IfNoneMatch = Annotated[bool, _of_put(None, "Overwrite nothing: If-None-Match: *", "--if-none-match")]
Checksum = Annotated[str | None, _of_put("ALGORITHM", "Of the files of --from: crc64nvme crc32c crc32 sha256 sha1.")]
From = Annotated[
    str | None, _of_put("DIR", "The files to be uploaded; the links let no other bytes through.", "--from")
]


def metadata_map(pairs: list[str] | None) -> dict[str, str] | None:
    """`K=V` pairs as a mapping. Raises ParameterError for one that is none, and for a name given twice."""
    found: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ParameterError(f"metadata {pair!r} is not of the form K=V")
        if name in found:
            raise ParameterError(f"metadata {name} is given twice")
        found[name] = value
    return found or None


def customer_key_of(file: Path | None) -> str | None:
    """The customer's key that a file holds, in base64. Raises ParameterError; no message shows what it holds."""
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
