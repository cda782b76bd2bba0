"""Messages of a verb on standard error: lines of text, or JSON objects under `--progress json`."""

from bulkpresign.events import Event, ObjectRetried, UploadLeftOpen
from bulkpresign.ledger.console import Console
from bulkpresign.ledger.counts import Counts
from bulkpresign.ledger.progress import progress_fields
from bulkpresign.model import Outcome
from bulkpresign.redact import without_secrets

#: The process's standard error.
console = Console()


def say(message: str, level: str = "info", event: str = "message", **fields: object) -> None:
    """One line on standard error, where everything but data goes; above the bar where there is one.

    Names of objects can hold line ends and what steers a terminal; here they are escaped. `fields` stand in the JSON
    object alone. `level` is `info`, `warning` or `error`; the last two begin the line.
    """
    text = printable(message)
    if console.is_json:
        console.row({"event": event, "level": level, **fields, "message": text})
    else:
        console.line(text if level == "info" else f"{level}: {text}")


def finish(message: str, counts: Counts, *, quiet: bool, **fields: object) -> None:
    """The closing summary; `fields` add to its JSON object."""
    if console.is_json:
        console.row({"event": "finished", **progress_fields(counts), **fields, "message": printable(message)})
    elif not quiet:
        say(message)


def say_problem(kind: str, subject: str, problem: str, note: str = "", **fields: object) -> None:
    """Names one object, or file, that is not as it should be: `failed`, `expired`, `missing`... and why."""
    if console.is_json:
        console.row({"event": kind, "level": "error", "object": subject, **fields, "message": printable(problem)})
    else:
        say(f"{kind}: {subject}: {problem}{note}")


def say_failure(outcome: Outcome) -> None:
    """Names an object that failed, and why."""
    tries = f" (attempt {outcome.attempts})" if outcome.attempts > 1 else ""
    fields = {"code": outcome.code, "attempts": outcome.attempts}
    say_problem(outcome.status, outcome.object.uri, outcome.message or "", tries, **fields)


def say_retry(event: Event) -> None:
    """Names an object that is tried again, and why."""
    if not isinstance(event, ObjectRetried):
        return
    if console.is_json:
        fields = {"object": event.object.uri, "code": event.code, "attempt": event.attempt, "delay": event.delay}
        say(event.message, "info", "retry", **fields)
    else:
        say(f"retry in {event.delay:.1f} s: {event.object.uri}: {event.message} (attempt {event.attempt})")


def say_left_open(event: Event) -> None:
    """Names an upload that was opened in vain and could not be ended."""
    if isinstance(event, UploadLeftOpen):
        fields = {"object": event.object.uri, "upload_id": event.upload_id}
        message = f"still open: {event.object.uri}: upload {event.upload_id}; bulkpresign abort ends it"
        say(message, "info", "upload_left_open", **fields)


def printable(text: str) -> str:
    """The text with everything escaped that is no visible character. Messages hold no secret; this is the last look."""
    shown = text if text.isprintable() else "".join(map(_printable, text))
    return without_secrets(shown)


def _printable(char: str) -> str:
    return char if char.isprintable() else repr(char)[1:-1]
