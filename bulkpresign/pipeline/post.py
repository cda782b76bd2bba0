"""post: a list of keys becomes a manifest of upload forms, for browsers and curl."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from operator import attrgetter
from typing import Any

from bulkpresign.aws import AwsSession
from bulkpresign.errors import ParameterError
from bulkpresign.events import Listener, ObjectsSigned, RunFinished, RunStarted, broadcast
from bulkpresign.limits import MAX_REQUEST_SIZE
from bulkpresign.manifest.forms import without_forms
from bulkpresign.manifest.writing import post_writer
from bulkpresign.model import ObjectRef, Post, Report
from bulkpresign.pipeline.sources.sources import Source, Sources, check_used
from bulkpresign.signing.batch import grouped
from bulkpresign.signing.post import Condition
from bulkpresign.signing.presigner import Presigner
from bulkpresign.signing.rules import check_run_options
from bulkpresign.source.filters import Filters
from bulkpresign.tables import Rows, open_output
from bulkpresign.tables.columns import OPTIONS_OF_ALL
from bulkpresign.tables.reading import output_format

NO_LINKS = "a form can't be signed for it; give a key, s3://bucket/key, or a table"
#: The field with the status of the response to an upload, and its values (docs: "POST Object").
SUCCESS_STATUS, SUCCESS_STATUSES = "success_action_status", (200, 201, 204)
_NO_HEADERS: tuple[Any, ...] = ("", "{}", {})
_HAS_HEADERS = (
    "a form does not have the signed headers of a link: leave the column out, and give the type of the objects in a "
    "column content_type or by --content-type"
)


async def post(
    source: Source | Sequence[Source],
    output: str | os.PathLike[str] = "-",
    *,
    bucket: str | None = None,
    expires_in: int = 3600,
    max_size: int = MAX_REQUEST_SIZE,
    content_type: str | None = None,
    success_status: int | None = None,
    format: str | None = None,  # noqa: A002 - the option's name
    from_format: str | None = None,
    literal: bool = False,
    filters: Filters | None = None,
    ca_bundle: str | None = None,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    addressing_style: str = "auto",
    session: AwsSession | None = None,
    listeners: Sequence[Listener] = (),
) -> Report:
    """Signs an upload form for every object of `source`, and writes url and fields to `output`, whole or not at all.

    The server refuses bodies over `max_size` bytes, and other types than `content_type`. `image/*` allows all of a
    kind: its forms have no field `Content-Type`, and the server refuses them until the sender adds one. A column
    `content_type` takes precedence in its row. No other column sets an option: `max_size`, `success_status` and
    `expires_in` with a value are errors, and so are links with signed headers, and upload forms.

    `success_status` is the status of the response to an upload, 200, 201 or 204. With 204, S3's default, a browser
    stays on the page with the form and shows nothing; with 201 it shows where the object is. A key that ends in
    `${filename}` takes the name of the file that is uploaded. A key of `s3://` may be a pattern over the objects
    that are there, unless `literal`; see `sign`. `filters` select among the objects.
    """
    if max_size < 1:
        raise ParameterError(f"max_size of {max_size} bytes is not at least 1")
    if success_status not in SUCCESS_STATUSES and success_status is not None:
        raise ParameterError(f"success_status is one of {', '.join(map(str, SUCCESS_STATUSES))}, not {success_status}")
    file = os.fspath(output)
    written_format = output_format(file, format)
    sources = Sources(
        source,
        bucket=bucket,
        from_format=from_format,
        literal=literal,
        no_links=NO_LINKS,
        filters=filters,
        check=_plain_rows,
    )
    await sources.begin()
    check_used(sources, bucket, from_format)
    columns = sources.columns  # unreadable input is reported before credentials are loaded
    report, tell, began = Report(verb="post"), broadcast(listeners), time.monotonic()
    tell(RunStarted("post"))
    async with AsyncExitStack() as stack:
        presigner = await stack.enter_async_context(
            Presigner(
                region_name, endpoint_url, profile_name, addressing_style, expires_in, session, ca_bundle=ca_bundle
            )
        )
        lister = await sources.lister(stack, presigner, tell)
        columns = sources.columns  # with those of inventories
        await sources.draw(lister, "POST")
        with open_output(file) as stream:
            writer = post_writer(stream, file, written_format, columns)
            async for objects in sources.objects(lister, "POST"):
                await presigner.prepare(objects)
                writer.write(_forms(presigner, objects, content_type, max_size, success_status))
                report.done += len(objects)
                tell(ObjectsSigned(len(objects)))
            writer.finish()
        report.may_end_early = presigner.has_unknown_end
    report.seconds = time.monotonic() - began
    tell(RunFinished(report))
    return report


def _plain_rows(batches: Iterator[Rows]) -> Iterator[Rows]:
    """The same rows. Raises ManifestError for an upload form, and for a cell that its form would not have."""
    for rows in without_forms(batches):
        check_run_options(rows, OPTIONS_OF_ALL, "post")
        for row, cell in enumerate((rows.column("headers") if "url" in rows.columns else None) or ()):
            if cell not in _NO_HEADERS:
                raise rows.error(row, _HAS_HEADERS, "headers")
        yield rows


def _forms(
    presigner: Presigner, refs: Sequence[ObjectRef], content_type: str | None, max_size: int, success_status: int | None
) -> list[Post]:
    """The forms of some objects. That of an object with a content type asks for this one."""
    status = {} if success_status is None else {SUCCESS_STATUS: str(success_status)}

    def alike(group: list[ObjectRef]) -> list[Post]:
        fields, conditions = _content_type_rule(group[0].content_type or content_type)
        conditions += [["content-length-range", 0, max_size], *([status] if status else [])]
        return presigner.post_batch(group, fields | status, conditions)

    return grouped(refs, attrgetter("content_type"), alike)


def _content_type_rule(content_type: str | None) -> tuple[dict[str, str], list[Condition]]:
    if content_type is None:
        return {}, []
    if content_type.endswith("*"):
        return {}, [["starts-with", "$Content-Type", content_type.removesuffix("*")]]
    return {"Content-Type": content_type}, [{"Content-Type": content_type}]
