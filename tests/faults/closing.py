"""What the suite says at its end: each test hangs its counts on its report, which reaches us from any worker."""

import json
from collections import Counter
from typing import Any

from tests.faults.schedule import SEED

PROPERTY = "faults"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the sum over all tests, and the kinds of faults."""
    found: list[dict[str, Any]] = [
        json.loads(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if not found:
        return
    kinds: Counter[str] = Counter()
    for counts in found:
        kinds.update(counts["kinds"])
    injected, survived, lost = (sum(counts[name] for counts in found) for name in ("injected", "survived", "lost"))
    terminalreporter.write_line(f"seed {SEED} (BULKPRESIGN_FAULT_SEED): " + _listed(kinds))
    terminalreporter.write_line(f"faults injected: {injected}, survived: {survived}, lost: {lost}")


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
