"""Prints messages on standard error: lines of text, or JSON objects with `--progress json`."""

from bulkpresign.events import Event, ObjectRetried, UploadLeftOpen
from bulkpresign.ledger.console import Console
from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.progress import progress_fields
from bulkpresign.model import Outcome
from bulkpresign.redact import printable

#: The console of this process.
console = Console()


def say(message: str, level: str = "info", event: str = "message", **fields: object) -> None:
    """Prints one line on standard error, above the progress bar if there is one.

    Line ends and control characters, which names of objects can have, are escaped. `fields` are only in the JSON
    object. `level` is `info`, `warning` or `error`; the line starts with the last two.
    """
    text = printable(message)
    if console.is_json:
        console.row({"event": event, "level": level, **fields, "message": text})
    else:
        console.line(text if level == "info" else f"{level}: {text}")


def finish(message: str, counts: Counts, *, quiet: bool, **fields: object) -> None:
    """Prints the summary of a run. `fields` are added to its JSON object."""
    if console.is_json:
        console.row({"event": "finished", **progress_fields(counts), **fields, "message": printable(message)})
    elif not quiet:
        say(message)


def say_problem(kind: str, subject: str, problem: str, note: str = "", **fields: object) -> None:
    """Prints the problem of one object or file. `kind` is `failed`, `expired`, `missing` or the like."""
    if console.is_json:
        console.row({"event": kind, "level": "error", "object": subject, **fields, "message": printable(problem)})
    else:
        say(f"{kind}: {subject}: {problem}{note}")


def say_failure(outcome: Outcome) -> None:
    """Prints an object that failed, and the reason."""
    tries = f" (attempt {outcome.attempts})" if outcome.attempts > 1 else ""
    fields = {"code": outcome.code, "attempts": outcome.attempts}
    say_problem(outcome.status, outcome.object.uri, outcome.message or "", tries, **fields)


def say_uncertified(outcome: Outcome) -> None:
    """Prints a copy that can't be read for its certificate, and the reason."""
    problem = f"the copy is there, but can't be read for the certificate: {outcome.message}"
    say_problem("uncertified", outcome.object.uri, problem, code=outcome.code, attempts=outcome.attempts)


def say_retry(event: Event) -> None:
    """Prints an object that is tried again, and the reason."""
    if not isinstance(event, ObjectRetried):
        return
    if console.is_json:
        fields = {"object": event.object.uri, "code": event.code, "attempt": event.attempt, "delay": event.delay}
        say(event.message, "info", "retry", **fields)
    else:
        say(f"retry in {event.delay:.1f} s: {event.object.uri}: {event.message} (attempt {event.attempt})")


def say_left_open(event: Event) -> None:
    """Prints an upload that was created and could not be aborted."""
    if isinstance(event, UploadLeftOpen):
        fields = {"object": event.object.uri, "upload_id": event.upload_id}
        message = f"still open: {event.object.uri}: upload {event.upload_id}; bulkpresign abort ends it"
        say(message, "info", "upload_left_open", **fields)
