"""The links of an open multipart upload: one per part, one to complete it, one to abort it."""

from collections.abc import Callable, Mapping
from datetime import datetime

from bulkpresign.model import Link, ObjectRef, Upload, UploadPart
from bulkpresign.signing.parts import (
    headers_of_parts,
    headers_to_abort,
    headers_to_complete,
    part_ref,
    parts_of,
    with_columns,
)
from bulkpresign.signing.sigv4 import Signer

#: Returns a signer for the upload's requests with this method and these headers.
SignerOf = Callable[[str, Mapping[str, str]], Signer]


def upload_of(
    signer: SignerOf, ref: ObjectRef, upload_id: str, part_size: int, *, headers: Mapping[str, str], end: datetime
) -> Upload:
    """The links of an upload. `headers` are those of a PUT of the whole object; the links expire at `end`."""
    whole = with_columns(ref, upload_id=upload_id)

    def link(method: str, signed: dict[str, str]) -> Link:
        (url,) = signer(method, signed).urls([ref.key])
        return Link(method, url, signed, end, whole)

    sent = headers_of_parts(headers)
    ranges = parts_of(ref.size or 0, part_size)
    numbers = [str(number) for number, _, _ in ranges]
    urls = signer("PUT", sent).urls([ref.key] * len(ranges), {"partNumber": numbers})
    parts = [
        UploadPart(number, offset, size, Link("PUT", url, sent, end, part_ref(whole, number, offset, size)))
        for (number, offset, size), url in zip(ranges, urls, strict=True)
    ]
    complete, abort = link("POST", headers_to_complete(headers)), link("DELETE", headers_to_abort(headers))
    return Upload(whole, upload_id, parts, complete, abort)
