"""`bulkpresign report`."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from bulkpresign.cli.help import Argument, FileName, Verb
from bulkpresign.text import counted, show_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from bulkpresign.ledger.report import Interval, JournalReport

_BAR_WIDTH = 40


@click.command(cls=Verb)
@click.argument("run", cls=Argument, metavar="RUN", help="The folder of a run, or its journal: data/ or data.journal.")
@click.option("--json", is_flag=True, help="Print one JSON object per journal.")
@click.option("--html", type=FileName(), metavar="FILE", help="Write a page with charts instead; it works offline.")
def report(run: str, json: bool, html: str | None) -> None:
    """Report what a run did, from its journal.

    Counts, bytes, rates over time, the slowest objects, errors by cause, and verifications. A folder may have several
    journals, one per verb and destination; all are shown.

    \b
    bulkpresign report data/
    bulkpresign report data.journal --json
    bulkpresign report data/ --html report.html
    """
    import msgspec

    from bulkpresign.cli import take_interrupts
    from bulkpresign.cli.runner import reporting_errors
    from bulkpresign.ledger.report import journals_of, read_report
    from bulkpresign.redact import printable
    from bulkpresign.tables.files import STDOUT, open_output

    if json and html is not None:
        raise click.UsageError("--json and --html exclude each other.")
    take_interrupts()
    with reporting_errors():
        files = journals_of(run)
        if html is not None:
            _write_html(files, html)
            return
        found = [read_report(file) for file in files]
        with open_output(STDOUT) as output:
            for number, one in enumerate(found):
                text = msgspec.json.encode(one).decode() if json else "\n".join(map(printable, _lines(one)))
                if len(found) > 1 and not json:
                    text = f"{chr(10) if number else ''}{printable(str(files[number]))}\n{text}"
                output.write(f"{text}\n".encode())


def _write_html(journals: list["Path"], html: str) -> None:
    from bulkpresign.cli.messages import say
    from bulkpresign.pipeline.report import write_page

    write_page(journals, html)
    if html != "-":
        say(f"report: {counted(len(journals), 'journal')} in {html}")


def _lines(found: "JournalReport") -> Iterator[str]:
    yield f"{found.verb} to {found.destination}"
    names = ["done", "skipped", "failed", "expired", *(["interrupted"] if found.interrupted else [])]
    yield f"objects   {found.objects:,}: " + ", ".join(f"{getattr(found, name):,} {name}" for name in names)
    if found.is_complete is False:
        yield "run       not complete: it goes on, or was stopped and the same command continues it"
    yield f"bytes     {show_bytes(found.bytes)}"
    if found.began_at is not None and found.ended_at is not None:
        began, ended = datetime.fromtimestamp(found.began_at), datetime.fromtimestamp(found.ended_at)  # noqa: DTZ006
        yield f"time      {began:%Y-%m-%d %H:%M:%S} to {ended:%Y-%m-%d %H:%M:%S}"
    yield f"retries   {found.retries:,}"
    yield "verified  " + (", ".join(f"{count:,} by {name}" for name, count in found.verified_by.items()) or "nothing")
    if found.load is not None:
        from bulkpresign.ledger.load import bound_in_words  # imports msgspec, which --help does without

        yield f"bound by  {bound_in_words(found.load)}, {counted(found.load.limit, 'request')} in flight at most"
    yield from _section("errors", (f"{count:>9,}  {code}" for code, count in found.errors.items()))
    yield from _section("rates", _rates(found.rates))
    yield from _section(
        "slowest", (f"{slow.seconds:>8.2f}s  {show_bytes(slow.bytes):>10}  {slow.object}" for slow in found.slowest)
    )


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    rows = list(lines)
    if rows:
        yield title
        yield from (f"  {row}" for row in rows)


def _rates(rates: list["Interval"]) -> Iterator[str]:
    most = max((interval.bytes / interval.seconds for interval in rates), default=0)
    for interval in rates:
        at = datetime.fromtimestamp(interval.at)  # noqa: DTZ006 - shown in local time
        speed = f"{interval.objects / interval.seconds:>8,.0f} objects/s"
        moved = f"{show_bytes(int(interval.bytes / interval.seconds))}/s"
        yield f"{at:%H:%M:%S}  {speed}  {moved:>12}  {_bar(interval, most)}".rstrip()


def _bar(interval: "Interval", most: float) -> str:
    """A bar for its bytes per second, relative to the highest rate."""
    return "#" * round(_BAR_WIDTH * interval.bytes / interval.seconds / most) if most else ""
