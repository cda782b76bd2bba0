"""The plan of a dry run, as lines of text."""

from collections.abc import Iterator, Mapping

from bulkpresign.model import PRICED_UNITS, Plan, Report
from bulkpresign.text import counted, show_amount, show_bytes, show_seconds


def plan_lines(report: Report, rate: int | None, prices: Mapping[str, float]) -> Iterator[str]:
    """The lines. `rate` is the expected number of bytes a second, None for the measured one. `prices`: see `Plan`."""
    plan = report.plan
    if plan is None:
        return
    in_parts = f"; {counted(plan.in_parts, 'object')} in parts" if plan.in_parts else ""
    yield f"requests: {_counts(plan.requests) or 'none'}{in_parts}"
    if plan.skipped:
        yield f"skipped: {', '.join(f'{count:,} {reason}' for reason, count in plan.skipped.items())}"
    for each in plan.sizes:
        bound = "larger" if each.most is None else f"up to {show_bytes(each.most)}"
        yield f"size {bound}: {counted(each.objects, 'object')}, {show_bytes(each.bytes)}"
    if plan.unsized:
        yield f"size unknown: {counted(plan.unsized, 'object')}, planned as small; large ones take more requests"
    for size, uri in plan.largest:
        yield f"largest: {uri}, {show_bytes(size)}"
    expected = rate or plan.measured_rate
    if expected:
        measured = "" if rate else ", as measured so far"
        yield f"duration at {show_bytes(int(expected))}/s{measured}: {show_seconds(report.bytes / expected)}"
    if prices:
        yield from _costs(plan, prices)


def _costs(plan: Plan, prices: Mapping[str, float]) -> Iterator[str]:
    """The lines of the cost, and of what has no price."""
    costs = plan.costs(prices)
    amounts = [f"{show_amount(cost)} for {_priced(plan, name)}" for name, cost in costs.items()]
    yield f"cost: {show_amount(sum(costs.values()))}" + (f" ({', '.join(amounts)})" if amounts else "")
    free = _counts({kind: count for kind, count in plan.requests.items() if kind not in costs})
    is_moved_free = plan.bytes_out and not costs.keys() & PRICED_UNITS.keys()
    missing = [*([free] if free else []), *([f"{show_bytes(plan.bytes_out)} out"] if is_moved_free else [])]
    if missing:
        yield f"not in the cost, without a price: {', '.join(missing)}"


def _priced(plan: Plan, name: str) -> str:
    return f"{show_bytes(plan.bytes_out)} out" if name in PRICED_UNITS else f"{plan.requests[name]:,} {name}"


def _counts(requests: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in requests.items())
