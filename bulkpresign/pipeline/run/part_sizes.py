"""The size of the parts that an object was uploaded in, asked of the server where credentials allow it."""

from bulkpresign.errors import InputError, TransferError
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.downloads.responses import without_checksum_mode


async def ask_part_size(presigner: Presigner, http: HttpClient, link: Link) -> int | None:
    """The bytes of an object's first part, by a HEAD of `partNumber=1`; None where the server does not tell.

    Source: docs "HeadObject". Servers that do not know parts answer with the size of the whole object, or with 0.
    """
    if not (link.object.bucket and link.object.key):
        return None
    headers = without_checksum_mode(link.headers)
    try:
        await presigner.prepare([link.object])
        (head,) = presigner.sign_batch([link.object], "HEAD", headers=headers, query={"partNumber": "1"})
        async with http.request(head) as response:
            return response.length or None if response.status in {200, 206} else None
    except (InputError, TransferError):
        return None
