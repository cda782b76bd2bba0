"""One response into the sink: all bytes of an object, or those after a resume point."""

from contextlib import nullcontext

from bulkpresign.http.response import Response
from bulkpresign.transfer.downloads.responses import digest_of, digest_of_whole
from bulkpresign.transfer.downloads.sink import Sink, Stored
from bulkpresign.transfer.downloads.steps import ResponseHead, Resume

_UNMEASURED = nullcontext()


async def store_stream(response: Response, head: ResponseHead, sink: Sink, resume: Resume | None) -> Stored:
    """Stores the bytes of a response, and gives the file its name. Raises TransferError."""
    ref = sink.link.object
    if resume is None:
        sink.open_stream(digest_of_whole(sink.link, head.etag, head.headers, head.length), head, None)
    else:
        point = resume.point
        sink.open_stream(
            digest_of(ref, head.etag or (None if ref.etag else point.etag), response.etag_kind, point.size),
            head,
            resume,
        )
        await sink.hash_start()
    with sink.limiter.moving_body() if sink.is_large else _UNMEASURED:
        while await response.stream_to(sink.write):
            await sink.catch_up()
    return await sink.commit(head, head.etag)
