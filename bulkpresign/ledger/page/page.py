"""Lays out the page: its head, and a part for each journal with a verdict, the main numbers, charts and tables."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.resources import files
from xml.etree.ElementTree import Element

from bulkpresign import __version__
from bulkpresign.ledger.figures import Figures
from bulkpresign.ledger.load import bound_in_words
from bulkpresign.ledger.page.sections import MIN_SECONDS, local_time, sections
from bulkpresign.markup import document, element, head
from bulkpresign.redact import printable
from bulkpresign.text import counted, show_bytes, show_duration, show_rate


def page_of(journals: Sequence[tuple[str, Figures]]) -> str:
    """The page of journals, each with the name of its file."""
    main = element(
        "main",
        element("h1", "Transfer report"),
        _contents(journals) if len(journals) > 1 else None,
        *(_article(figures, number) for number, (_, figures) in enumerate(journals, 1)),
    )
    title = " and ".join(_title(figures) for _, figures in journals)
    style = (files("bulkpresign.ledger.page") / "style.css").read_text("utf-8")
    body = element("body", main, _footer([name for name, _ in journals]))
    return document(head(f"Report: {title}", style), body)


def _title(figures: Figures) -> str:
    return printable(f"{figures.report.verb} to {figures.report.destination}")


def _contents(journals: Sequence[tuple[str, Figures]]) -> Element:
    links = [
        element("li", element("a", _title(figures), href=f"#journal-{number}"), f": {_verdict(figures)}")
        for number, (_, figures) in enumerate(journals, 1)
    ]
    return element("nav", element("ul", *links), aria_label="Journals")


def _article(figures: Figures, number: int) -> Element:
    verdict = f"{_verdict(figures)} {_proof(figures)}"
    return element(
        "article",
        element("header", element("h2", _title(figures)), element("p", verdict, class_="verdict"), _numbers(figures)),
        *sections(figures),
        id=f"journal-{number}",
    )


def _verdict(figures: Figures) -> str:
    report = figures.report
    if report.is_complete is False:
        finished = report.done + report.skipped
        done, are = counted(finished, "object"), "is" if finished == 1 else "are"
        return f"The run is not complete: it goes on, or was stopped. So far, {done} {are} done."
    if not report.objects:
        return "The journal has no objects."
    if missing := report.not_done:
        return f"{missing:,} of {counted(report.objects, 'object')} {'is' if missing == 1 else 'are'} not done."
    return "The object is done." if report.objects == 1 else f"All {report.objects:,} objects are done."


def _proof(figures: Figures) -> str:
    if not figures.report.done:
        return ""
    if not figures.unproven:
        return "All bytes that were moved are proven by a checksum or an etag."
    return f"Nothing proves the bytes of {counted(figures.unproven, 'object')}."


def _numbers(figures: Figures) -> Element:
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", value, element("small", note), class_=style))
            for name, value, note, style in _number_cells(figures)
        ),
    )


def _number_cells(figures: Figures) -> Iterator[tuple[str, str, str, str]]:
    """Names, values, notes and classes of the main numbers."""
    report = figures.report
    missing = report.not_done
    causes = [f"{report.failed:,} failed", f"{report.expired:,} expired"]
    causes += [f"{report.interrupted:,} interrupted"] if report.interrupted else []
    retries = counted(report.retries, "retry", "retries")
    yield "Done", f"{report.done:,}", f"{report.skipped:,} skipped, {retries}", ""
    yield "Not done", f"{missing:,}", ", ".join(causes), "bad" if missing else ""
    yield "Bytes", show_bytes(report.bytes), "of the objects done", ""
    if report.began_at is not None and report.ended_at is not None:
        yield "Time", show_duration(report.ended_at - report.began_at), _from_to(report.began_at, report.ended_at), ""
    if seconds := _seconds(figures):
        moved = sum(slot.bytes for slot in figures.timeline.slots)
        yield "Mean rate", f"{show_bytes(int(moved / seconds))}/s", f"{show_rate(report.done / seconds)} objects/s", ""
    if report.load is not None:
        requests = counted(report.load.limit, "request")
        yield "Bound by", bound_in_words(report.load), f"{requests} in flight at most", ""


def _seconds(figures: Figures) -> float:
    """The seconds in which something was moved, without pauses. Whole seconds are too coarse for a short run."""
    report, active = figures.report, figures.timeline.active
    if active >= MIN_SECONDS or report.began_at is None or report.ended_at is None:
        return active
    return report.ended_at - report.began_at


def _from_to(began_at: float, ended_at: float) -> str:
    began, ended = local_time(began_at), local_time(ended_at)
    end = f"{ended:%H:%M}" if began.date() == ended.date() else f"{ended:%Y-%m-%d %H:%M}"
    return f"{began:%Y-%m-%d %H:%M} to {end}"


def _footer(names: Sequence[str]) -> Element:
    now = datetime.now().astimezone()
    words = (
        f"Written by bulkpresign {__version__} on {now:%Y-%m-%d} at {now:%H:%M:%S} from "
        f"{' and '.join(map(printable, names))}. Times are those of UTC{now:%z}. "
        "This page has the names of objects, and no links to them."
    )
    return element("footer", element("p", words))
