"""The last messages of a transfer: failures, the summary, and advice."""

from bulkpresign.cli.messages import say, say_failure, say_uncertified
from bulkpresign.events import Event, ReadBackFailed, outcomes_in
from bulkpresign.ledger.counts import Counts
from bulkpresign.model import INTERRUPTED, Certificate, Outcome, Report
from bulkpresign.text import counted, show_bytes

NAMED_FAILURES = 10
#: The codes of S3 for a session token that has expired, and with it all links that it signed.
_EXPIRED_TOKEN = {"ExpiredToken", "TokenRefreshRequired"}


def no_rows(filters: object) -> str:
    """The beginning of a warning that a run had nothing to do. `filters` are those of the run, None for none."""
    return "there were no rows" if filters is None else "no object passed the filters"


class Failures:
    """Prints failures: each at once, or the first few at the end of the run. Interrupted objects are not failures.

    Copies that can't be read for their certificate are no failures either. They come last, and the first few are
    printed at once.
    """

    takes_batches = True

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once
        self._first: list[Outcome] = []
        self._count = self._uncertified = 0
        #: The codes of the objects whose links had expired.
        self.expired_codes: set[str | None] = set()

    def __call__(self, event: Event) -> None:
        """Prints or stores outcomes that failed."""
        for outcome in outcomes_in(event):
            if outcome.status in {"failed", "expired"}:
                self._add(outcome)
        if isinstance(event, ReadBackFailed):
            self._uncertified += 1
            if self._at_once or self._uncertified <= NAMED_FAILURES:
                say_uncertified(event.outcome)

    def _add(self, outcome: Outcome) -> None:
        if outcome.code == INTERRUPTED:
            return
        self._count += 1
        if outcome.status == "expired":
            self.expired_codes.add(outcome.code)
        if self._at_once:
            say_failure(outcome)
        elif len(self._first) < NAMED_FAILURES:
            self._first.append(outcome)

    def say_rest(self, most: int = NAMED_FAILURES, *, are_listed: bool = True) -> None:
        """Prints the first `most` failures that were not printed yet, and the number of the others.

        `are_listed` is False where the file that would list them could not be written.
        """
        named = self._first[:most]
        for outcome in named:
            say_failure(outcome)
        rest = 0 if self._at_once else self._count - len(named)
        if rest:
            say(f"... and {rest:,} more" + (": --failures FILE lists all of them" if are_listed else ""))


def summary(report: Report, moved: int | None = None) -> str:
    """A run in one line. The rate counts the bytes that were `moved` (None: all), without resumed ones."""
    if report.planned is not None:
        return f"{report.verb}: {report.planned:,} to do, {report.skipped:,} done before; {show_bytes(report.bytes)}"
    names = ("skipped", "failed", "expired")
    counts = [f"{report.done:,} done", *(f"{n:,} {name}" for name in names if (n := getattr(report, name)))]
    if report.skipped_by and report.verb != "get":  # see `done_before`
        counts[1] += f" (done before, by {report.skipped_by})"
    if report.retries:
        counts.append(counted(report.retries, "retry", "retries"))
    seconds = max(report.seconds, 0.001)
    speed = report.bytes if moved is None else min(report.bytes, max(0, moved))
    rates = f"{report.done / seconds:,.0f} objects/s, {show_bytes(int(speed / seconds))}/s"
    done = f"{show_bytes(report.bytes)} in {report.seconds:.1f} s"
    slowed = f"; slowed {counted(report.slowed, 'time')} by the server" if report.slowed else ""
    their = "its" if report.unproven == 1 else "their"
    unproven = f"; {report.unproven:,} not proven by {their} bytes" if report.unproven else ""
    return f"{report.verb}: {', '.join(counts)}; {done} ({rates}){slowed}{unproven}"


def certificate_line(certificate: Certificate, file: str) -> str:
    """A certificate that was written, in one line."""
    counts = f"{counted(certificate.objects, 'object')}, {show_bytes(certificate.bytes)}"
    return f"{counts} in {file}; root {certificate.root}"


def certificate_notes(report: Report, file: str, *, quiet: bool) -> list[tuple[str, str]]:
    """Messages, with their levels, that say whether the certificate of a transfer was written."""
    if report.uncertified:
        lacking = counted(report.uncertified, "copy", "copies")
        return [
            (f"no certificate is written: it would lack {lacking}, see above; run this again to read them", "error")
        ]
    if report.certificate is None:
        failed = report.failed + report.expired
        return [(f"no certificate is written: {counted(failed, 'object')} failed", "error")]
    return [] if quiet else [(f"certificate: {certificate_line(report.certificate, file)}", "info")]


def interruption(word: str, counts: Counts, then: str | None = "run the same command to continue") -> str:
    """The counts of a run that was `interrupted` or `terminated`, and how to continue."""
    if not counts.is_started:
        return word
    report = counts.report
    others = {
        "skipped": report.skipped,
        "failed": report.failed - counts.interrupted,
        "expired": report.expired,
    }
    numbers = [f"{report.done:,} done", *(f"{count:,} {name}" for name, count in others.items() if count)]
    if counts.objects_left is not None:
        numbers.append(f"{counts.objects_left:,} left")
    return f"{word}: {', '.join(numbers)}" + (f"; {then}" if then else "")


def expired_advice(codes: set[str | None]) -> str:
    """Advice for links that had expired, by the codes of their outcomes."""
    if codes == {"RenewalFailed"}:
        return "the links could not be renewed, see above: fix that, then run this again"
    if codes <= _EXPIRED_TOKEN:
        return (
            "the credentials that signed the links had expired: renew them if they are yours, else ask the sender for "
            "fresh links, then run this again"
        )
    return (
        "the links had expired: ask the sender for fresh links, then run this again "
        "(--renew-credentials signs links to your own buckets again)"
    )


def archived(report: Report) -> str:
    """Advice for objects that are archived, or listed so."""
    counts = f"archived: {counted(report.archived, 'object')} of {show_bytes(report.archived_bytes)}"
    if report.failed:
        return f"{counts} can't be read before S3 has restored {'it' if report.archived == 1 else 'them'}"
    return f"{counts}, by the storage class; what is not restored yet can't be read"


def done_before(report: Report) -> str:
    """Advice for objects that were skipped because of the journal alone."""
    if report.verb == "get":
        return f"skipped because of {report.skipped_by}, as rows have no etag or checksum; --recheck asks the server"
    return f"{report.skipped_by} has all of it as done; to do it again, name another one by --journal"


def early_end(what: str) -> str:
    """A warning about the links, or forms, of a session token whose end is not known."""
    return (
        f"the {what} may end before their expires_at: they end with the session token that signed them, and nothing "
        "tells when that is; AWS_CREDENTIAL_EXPIRATION does, beside AWS_SESSION_TOKEN"
    )


def unwritten(file: str | None) -> str:
    """Advice for a file of results that could not be written at the end of a run."""
    name = "a file of its results" if file is None else file
    return f"the run has ended, but {name} was not written, see above; the same command writes it"


def untagged(count: int) -> str:
    """A note about copies that lack the tags of their objects, or of which that is not known."""
    copies = f"{counted(count, 'copy', 'copies')} may lack those of {'its object' if count == 1 else 'their objects'}"
    return f"tags: {copies}, which some servers neither tell nor take; verify --metadata compares them"


def left_open(count: int) -> str:
    """Advice for uploads of this run that are still open."""
    stays = "stays" if count == 1 else "stay"
    return f"{counted(count, 'upload')} {stays} open: run this again to continue, or abort with bulkpresign abort"


def left_out(count: int) -> str:
    """A note about the files below a folder that are no data."""
    return f"left out: {counted(count, 'file')} of bulkpresign: unfinished downloads (.part) and journals"
