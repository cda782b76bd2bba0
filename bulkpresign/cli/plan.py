"""The plan of a dry run, as lines of text."""

from collections.abc import Iterator

from bulkpresign.model import Report
from bulkpresign.text import counted, show_bytes, show_seconds


def plan_lines(report: Report, rate: int | None) -> Iterator[str]:
    """The lines. `rate` is the expected number of bytes a second, None if it is not known."""
    plan = report.plan
    if plan is None:
        return
    requests = ", ".join(f"{count:,} {method}" for method, count in plan.requests.items())
    in_parts = f"; {counted(plan.in_parts, 'object')} in parts" if plan.in_parts else ""
    yield f"requests: {requests or 'none'}{in_parts}"
    if plan.skipped:
        yield f"skipped: {', '.join(f'{count:,} {reason}' for reason, count in plan.skipped.items())}"
    for each in plan.sizes:
        bound = "larger" if each.most is None else f"up to {show_bytes(each.most)}"
        yield f"size {bound}: {counted(each.objects, 'object')}, {show_bytes(each.bytes)}"
    if plan.unsized:
        yield f"size unknown: {counted(plan.unsized, 'object')}"
    for size, uri in plan.largest:
        yield f"largest: {uri}, {show_bytes(size)}"
    if rate:
        yield f"duration at {show_bytes(rate)}/s: {show_seconds(report.bytes / rate)}"
