"""Exit codes and the last messages of a run, with a verb that only emits events."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import anyio
import pytest
from click.exceptions import Exit

from bulkpresign.cli.ending import exit_code
from bulkpresign.cli.runner import reporting_errors, run_transfer, run_verb
from bulkpresign.cli.signals import SIGNAL_WORDS
from bulkpresign.cli.summary import Failures, expired_advice, left_open
from bulkpresign.errors import BreakerError, BulkpresignError, JournalError, OutputError
from bulkpresign.events import Event, Listener, ObjectRetried, ObjectsFinished, ReadBackFailed, RunFinished, RunStarted
from bulkpresign.model import ObjectRef, Outcome, Report

REF = ObjectRef("b", "k")


def ended(status: str, code: str | None = None, message: str | None = None) -> ObjectsFinished:
    return ObjectsFinished([Outcome(REF, status, code=code, message=message)])  # type: ignore[arg-type]


DONE = ended("done")
FAILED = ended("failed", "NoSuchKey", "404 NoSuchKey")
EXPIRED = ended("expired", "LinkExpired", "the link ended")
UNCERTIFIED = ReadBackFailed(Outcome(REF, "failed", code="AccessDenied", message="403 AccessDenied"))
INTERRUPTED = ended("failed", "Interrupted", "the run was interrupted")


class Verb:
    """Tells events, then does what it is asked to."""

    def __init__(
        self, events: Sequence[Event] = (), error: BaseException | None = None, stops: signal.Signals | None = None
    ) -> None:
        self.events, self.error, self.stops = events, error, stops

    async def __call__(self, *, listeners: Sequence[Listener], value: int = 0, failures: str | None = None) -> Report:
        for event in self.events:
            for listener in listeners:
                listener(event)
        if self.error is not None:
            raise self.error
        if self.stops is not None:
            os.kill(os.getpid(), self.stops)
            await anyio.sleep(20)
        return Report(verb="get", done=value)


def code_of(verb: Verb, *, quiet: bool = False, verbose: bool = False, **settings: Any) -> int:
    with pytest.raises(Exit) as caught:
        run_transfer("get", verb, progress="off", quiet=quiet, verbose=verbose, **settings)
    return caught.value.exit_code


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({}, 0),
        ({"done": 3, "skipped": 1, "unproven": 1}, 0),
        ({"done": 3, "failed": 1}, 1),
        ({"done": 3, "expired": 1}, 3),
        ({"failed": 2, "expired": 1}, 3),
    ],
)
def test_an_exit_code_is_that_of_the_counts(counts: dict[str, int], code: int) -> None:
    assert exit_code(Report(verb="get", **counts)) == code  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("events", "code", "said"),
    [
        ([DONE], 0, ["get: 1 done;"]),
        ([DONE, FAILED], 1, ["failed: s3://b/k: 404 NoSuchKey", "get: 1 done, 1 failed;"]),
        (
            [EXPIRED],
            3,
            ["expired: s3://b/k: the link ended", "get: 0 done, 1 expired;", expired_advice({"LinkExpired"})],
        ),
        (
            [FAILED, EXPIRED],
            3,
            ["failed: ", "expired: ", "get: 0 done, 1 failed, 1 expired;", "the links had expired: "],
        ),
        ([], 0, ["get: 0 done;", "warning: there were no rows: nothing to do"]),
        ([DONE, RunFinished(Report(verb="get", done=1, uploads_left_open=1))], 0, ["get: 1 done;", left_open(1)]),
    ],
)
def test_a_run_that_came_to_its_end(
    events: list[Event], code: int, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(Verb(events)) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True))


def test_a_quiet_run_names_what_failed_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(Verb([DONE, EXPIRED]), quiet=True) == 3
    assert capsys.readouterr().err == "expired: s3://b/k: the link ended\n"


@pytest.mark.parametrize("verbose", [True, False])
def test_a_verbose_run_tells_retries_as_they_come(verbose: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(Verb([ObjectRetried(REF, 1, 0.5, "SlowDown", "503 SlowDown"), DONE]), verbose=verbose) == 0
    said = capsys.readouterr().err
    assert ("retry in 0.5 s: s3://b/k: 503 SlowDown (attempt 1)\n" in said) is verbose
    assert "get: 1 done, 1 retry;" in said


def test_a_verb_may_have_a_summary_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(Verb([DONE]), in_one_line=lambda report: f"{report.done} so far") == 0
    assert capsys.readouterr().err == "1 so far\n"


@pytest.mark.parametrize(("error", "code"), [(JournalError("no journal"), 2), (BreakerError("all fail alike"), 1)])
@pytest.mark.parametrize("is_nested", [True, False])
def test_an_error_of_the_run_has_its_own_code(
    error: BulkpresignError, code: int, is_nested: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    raised = BaseExceptionGroup("", [BaseExceptionGroup("", [error])]) if is_nested else error
    assert code_of(Verb(error=raised)) == code
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_run_that_broke_counts_what_came_before(capsys: pytest.CaptureFixture[str]) -> None:
    """A breaker that opened names one of the failures, which are all alike; another error names the first ten."""
    failed = [DONE, *[FAILED] * 12, INTERRUPTED]
    assert code_of(Verb(failed, BreakerError("all fail alike"))) == 1
    said = capsys.readouterr().err
    assert said.count("failed: s3://b/k") == 1
    assert "... and 11 more: --failures FILE lists all of them\n" in said
    assert "get: 1 done, 12 failed;" in said
    assert said.endswith("the run ended early, see above; the same command continues it\n")
    assert code_of(Verb(failed, JournalError("the disk is full"))) == 2
    assert capsys.readouterr().err.count("failed: s3://b/k") == 10


def test_a_run_that_broke_because_of_expired_links_says_so() -> None:
    """As one of fewer objects, which ends before the breaker opens."""
    assert code_of(Verb([EXPIRED] * 12, BreakerError("all fail alike"))) == 3


@pytest.mark.parametrize("expired", [False, True])
def test_a_file_that_is_not_written_at_the_end_is_no_usage_error(
    expired: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the run it is one."""
    lost = OutputError("p.csv can't be written: No space left on device", file="p.csv")
    events: list[Event] = [RunStarted("get", None, None), *[EXPIRED if expired else FAILED] * 12]
    assert code_of(Verb([*events, RunFinished(Report(verb="get"))], lost), failures="p.csv") == (3 if expired else 1)
    said = capsys.readouterr().err
    assert "... and 2 more\n" in said
    assert "the run has ended, but p.csv was not written, see above; the same command writes it\n" in said
    assert "ended early" not in said
    assert code_of(Verb([], lost), failures="p.csv") == 2


def test_a_run_that_ends_early_because_of_its_failures_file_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    lost = OutputError("p.csv can't be written: No space left on device", file="p.csv")
    started = RunStarted("get", 20, None)
    events: list[Event] = [started, *[FAILED] * 12, RunFinished(Report(verb="get"))]
    assert code_of(Verb(events, lost), failures="p.csv") == 1
    early = BreakerError("all fail alike; p.csv can't be written: No space left on device")
    early.__cause__ = lost
    assert code_of(Verb(events, early), failures="p.csv") == 1
    said = capsys.readouterr().err
    assert said.count("the run ended early, see above; the same command continues it\n") == 2
    assert "lists all of them" not in said


def test_a_verbose_run_names_each_failure_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(Verb([*[FAILED] * 12, *[UNCERTIFIED] * 12]), verbose=True) == 1
    said = capsys.readouterr().err
    assert said.count("failed: s3://b/k: 404 NoSuchKey\n") == said.count("uncertified: s3://b/k: ") == 12
    assert "more" not in said


def test_the_first_ten_copies_that_can_not_be_certified_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    code_of(Verb([UNCERTIFIED] * 12))
    assert capsys.readouterr().err.count("uncertified: s3://b/k: ") == 10


def test_the_attempt_that_failed_is_named_where_it_was_not_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    code_of(Verb([ObjectsFinished([Outcome(REF, "failed", message="503", attempts=2)])]))
    assert "failed: s3://b/k: 503 (attempt 2)\n" in capsys.readouterr().err


@pytest.fixture
def _signals_end_a_process() -> Iterator[None]:
    """As in a shell; nohup and background jobs begin with some of them ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNAL_WORDS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_end_a_process")
@pytest.mark.parametrize(
    ("number", "word", "code"),
    [
        (signal.SIGINT, "interrupted", 130),
        (signal.SIGTERM, "terminated", 143),
        (signal.SIGHUP, "hung up", 129),
    ],
)
def test_a_run_that_is_stopped_says_how_far_it_came(
    number: signal.Signals, word: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[Event] = [RunStarted("get", 9), DONE, FAILED, INTERRUPTED]
    assert code_of(Verb(events, stops=number), quiet=True) == code
    go_on = "run the same command to continue"
    assert capsys.readouterr().err.splitlines() == [
        "failed: s3://b/k: 404 NoSuchKey",
        f"{word}: 1 done, 1 failed, 7 left; {go_on}",
    ]


#: A run that is closing for long after it was stopped, as one that writes to a slow disk is.
CLOSING = """
import anyio
from bulkpresign.cli.runner import run_verb

async def verb(listeners):
    print("running", flush=True)
    try:
        await anyio.sleep(60)
    finally:
        with anyio.CancelScope(shield=True):
            print("closing", flush=True)
            await anyio.sleep(60)

run_verb(verb)
"""


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_ends_the_process_while_the_run_is_closing(second: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", CLOSING], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"closing\n"
        process.send_signal(second)
        _, said = process.communicate(timeout=50)
    assert (process.returncode, said) == (128 + second, b"")


#: SIGINT comes in a callback, as those that Python has for imports.
EARLY = """
import os, signal, sys, weakref
from bulkpresign import cli

class Gone: pass

def in_a_callback(_):
    gone = Gone()
    callback = weakref.ref(gone, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del gone

cli._asks_for_json = in_a_callback
cli.main()
"""


def test_an_interrupt_during_imports_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", EARLY, "report", "none"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_a_verb_returns_its_report() -> None:
    entered = []

    class Shown(nullcontext[None]):
        def __enter__(self) -> None:
            entered.append(True)

    assert run_verb(Verb(), shown=Shown(), value=5).done == 5
    assert entered == [True]


@pytest.mark.usefixtures("_signals_end_a_process")
def test_a_verb_that_is_stopped_says_the_word(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as caught:
        run_verb(Verb(stops=signal.SIGTERM))
    assert caught.value.exit_code == 143
    assert capsys.readouterr().err == "terminated\n"


def test_errors_before_a_run_are_told_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as caught, reporting_errors():
        raise JournalError("no journal")
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == "error: no journal\n"


def test_what_was_cut_off_did_not_fail(capsys: pytest.CaptureFixture[str]) -> None:
    failures = Failures(at_once=True)
    for event in (INTERRUPTED, DONE, FAILED, EXPIRED):
        failures(event)
    assert capsys.readouterr().err.count("\n") == 2
    failures.say_rest()
    assert capsys.readouterr().err == ""
    assert failures.expired_codes == {"LinkExpired"}
