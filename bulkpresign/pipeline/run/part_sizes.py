"""The size of the parts that an object was uploaded in, asked of the server where credentials allow it."""

from bulkpresign.errors import InputError, TransferError
from bulkpresign.http.client import HttpClient
from bulkpresign.model import Link
from bulkpresign.pipeline.rows.head_response import asked_parts, parts_count
from bulkpresign.signing.presigner import Presigner
from bulkpresign.transfer.downloads.responses import without_checksum_mode


async def ask_part_size(presigner: Presigner, http: HttpClient, link: Link) -> int | None:
    """The bytes of each part of an object but the last, by HEAD requests for some of them: see `asked_parts`.

    None where the server does not tell, or they differ. Source: docs "HeadObject". Servers that do not know parts
    answer with the size of the whole object, or with 0.
    """
    if not (link.object.bucket and link.object.key):
        return None
    headers = without_checksum_mode(link.headers)

    async def asked(number: int) -> tuple[int | None, int]:
        """The size of a part, and the number of parts."""
        (head,) = presigner.sign_batch([link.object], "HEAD", headers=headers, query={"partNumber": f"{number}"})
        async with http.request(head) as response:
            size = response.length or None if response.status in {200, 206} else None
            return size, parts_count(response.headers)

    try:
        await presigner.prepare([link.object])
        size, count = await asked(1)
        others = {(await asked(number))[0] for number in asked_parts(count)[1:]}
    except (InputError, TransferError):
        return None
    return size if others <= {size} else None
