"""Copies without credentials: rows with a GET link of an object, and a PUT link for its copy.

The columns are `dst_url` and `dst_headers`, as `url` and `headers` for the GET; and `dst_bucket` and `dst_key`, with
which a PUT link can be signed again.
"""

from collections.abc import AsyncIterator, Sequence

import msgspec

from bulkpresign.errors import ManifestError, ParameterError
from bulkpresign.manifest.links import links_of
from bulkpresign.model import Link, ObjectRef, without_query
from bulkpresign.pipeline.sources.links import Remote
from bulkpresign.tables import Rows
from bulkpresign.tables.columns import DST_BUCKET, DST_COLUMNS, DST_HEADERS, DST_KEY, DST_URL
from bulkpresign.transfer.engine.jobs import Job, Renew, RenewableLink

__all__ = ["DST_COLUMNS", "checked", "linked_copies", "with_target"]


def with_target(ref: ObjectRef, put: Link) -> ObjectRef:
    """The object with the columns of the PUT link for its copy."""
    target = {DST_BUCKET: put.object.bucket, DST_KEY: put.object.key, DST_URL: put.url, DST_HEADERS: dict(put.headers)}
    return msgspec.structs.replace(ref, extra={**(ref.extra or {}), **target})


def checked(ref: ObjectRef) -> ObjectRef:
    """The same object, whose path is the address of its copy. Raises ParameterError for a row without a PUT link."""
    return msgspec.structs.replace(ref, path=without_query(_put_link(ref).url))


async def linked_copies(links: AsyncIterator[list[Remote]], renew: Renew | None) -> AsyncIterator[Sequence[Job]]:
    """The jobs of rows. `renew` renews their PUT links."""
    async for batch in links:
        yield [
            Job(link, RenewableLink(_put_link(link.object), renew)) for link in batch if isinstance(link, RenewableLink)
        ]


def _put_link(ref: ObjectRef) -> Link:
    extra = ref.extra or {}
    if not extra.get(DST_URL):
        raise ParameterError(f"{ref.uri}: the row has no {DST_URL}: make one with sign --to s3://bucket/prefix/")
    cells = [extra[DST_URL], extra.get(DST_HEADERS) or "{}", "PUT"]
    try:
        (link,) = links_of(Rows("", ("url", "headers", "method"), [cells], [1]))
    except ManifestError as error:
        raise ParameterError(f"{ref.uri}: column dst_{error.column}: {error.problem}") from error
    target = ObjectRef(str(extra.get(DST_BUCKET) or ""), str(extra.get(DST_KEY) or ""), path=without_query(link.url))
    return msgspec.structs.replace(link, object=target)
