"""`--help`: its text, the modules that it loads, and a parameter of the pipeline for each option."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click
import msgspec
import pytest
from click.exceptions import Exit
from click.testing import CliRunner

import bulkpresign.ledger.report
from bulkpresign.cli import runner, verify_runner
from bulkpresign.cli.app import VERBS, app
from bulkpresign.cli.habits import HABITS
from bulkpresign.pipeline.run.config import TransferConfig
from bulkpresign.signing.options import LinkOptions

#: Of each verb: what has to be given, and parameters of its function that the command line has no option for.
GIVEN = {
    "sign": (["x"], {"source"}, {"query", "filename"}),
    "post": (["x"], {"source"}, set[str]()),
    "get": (["x", "--to", "y"], {"source", "to"}, set[str]()),
    "put": (["x", "--from", "y"], set[str](), {"headers", "part_size"}),
    "put folder": (["x", "s3://y/"], set[str](), set[str]()),
    "split": (["x", "-n", "2"], {"manifest", "parts"}, set[str]()),
    "copy": (["x", "s3://y/"], set[str](), set[str]()),
    "copy links": (["x"], set[str](), set[str]()),
    "abort": (["x"], {"what"}, {"output"}),
    "verify": (["x", "--in", "y"], {"manifest", "folder"}, set[str]()),
    "verify sides": (["x", "y"], {"source", "destination"}, set[str]()),
    "verify certificate": (["x", "--certificate", "y"], {"source", "file"}, set[str]()),
    "verify write": (["x", "--write-certificate", "y"], {"source", "file"}, set[str]()),
}
#: What is no option at all.
INTERNAL = {
    "session",
    "listeners",
    "extras",
    "config",
    "presigner",
    "source_presigner",
    "destination_presigner",
    "announce",
}
#: What a bound is that neither a keyword nor `config` sets.
BOUNDS = msgspec.structs.asdict(TransferConfig())


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, prog_name="bulkpresign")
    assert done.exit_code == 0, done.output
    return done.output


def test_help_names_the_verbs_in_the_order_of_a_job() -> None:
    listed = said("--help").partition("Commands:\n")[2].partition("\n\n")[0]
    assert tuple(line.split()[0] for line in listed.splitlines()) == VERBS


def test_without_a_verb_there_is_help_and_an_error() -> None:
    done = CliRunner().invoke(app, [], prog_name="bulkpresign")
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", said("--help"))


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb: str) -> None:
    command = app.get_command(click.Context(app), verb)
    assert command is not None
    assert [param.name for param in command.params if not getattr(param, "help", None)] == []
    text = said(verb, "-h")
    assert all(len(line) <= 110 for line in text.splitlines())
    assert [
        param.opts for param in command.params if isinstance(param, click.Option) and param.opts[-1] not in text
    ] == []
    assert ("Arguments:" in text) == any(isinstance(param, click.Argument) for param in command.params)
    assert "Positional" not in text  # click's own section, which would be a second one


def test_options_of_one_kind_stand_together() -> None:
    text = said("sign", "--help")
    places = [
        text.index(f"\n{words}") for words in ("Arguments:", "Options:", "  -h, --help", "GET links", "PUT links")
    ]
    assert places == sorted(places)
    assert places[3] < text.index("--request-payer") < places[4] < text.index("--from DIR")


def test_defaults_are_shown() -> None:
    text = " ".join(said("get", "--help").split())
    for words in ("[default: 1024; x>=1]", "[default: 1h]", "[default: auto]", "[required]"):
        assert words in text
    assert "[default: (the number of CPUs for files; for requests, the number that is fastest); x>=1]" in " ".join(
        said("verify", "--help").split()
    )


@pytest.mark.parametrize("arguments", GIVEN.values(), ids=GIVEN)
def test_settings_are_what_the_pipeline_takes(
    arguments: tuple[list[str], set[str], set[str]], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each setting has a parameter, each parameter a setting, and what nobody says is the same on both sides."""
    words, given, left_out = arguments
    called: list[tuple[Callable[..., Any], dict[str, Any]]] = []

    def run_verb(
        verb: Callable[..., Any], _listeners: object, *, shown: object, on_stop: object = None, **settings: Any
    ) -> NoReturn:
        called.append((verb, settings))
        raise Exit(0)

    for module in (runner, verify_runner):
        monkeypatch.setattr(module, "run_verb", run_verb)
    CliRunner().invoke(app, [request.node.callspec.id.split()[0], *words], catch_exceptions=False)
    ((verb, settings),) = called
    parameters = inspect.signature(verb).parameters
    assert set(settings) <= set(parameters)
    bound = getattr(verb, "keywords", {})  # of a partial
    assert set(parameters) - set(settings) - set(bound) == left_out | (INTERNAL & set(parameters)) - set(bound)
    nothing: tuple[object, ...] = (None, {}, LinkOptions())
    for name in set(settings) - given:
        value, default = settings[name], parameters[name].default
        if default is None and "config" in parameters:
            default = BOUNDS.get(name)
        assert value == default or (value in nothing and default in nothing), name


def test_a_verb_loads_no_other() -> None:
    code = "import sys; from bulkpresign.cli.app import app; app(['get', '--help'], standalone_mode=False)"
    code += "; print(*(name for name in sys.modules if name.startswith('bulkpresign.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own = {name.removeprefix("bulkpresign.") for name in done.stdout.splitlines()[-1].split()}
    assert own == {
        "cli",
        "cli.app",
        "cli.filter_options",
        "cli.get",
        "cli.help",
        "cli.options",
        "cli.units",
        "errors",
        "redact",
    }


@pytest.mark.parametrize(
    ("closed", "words", "code"), [(">&-", "--help", 0), (">&-", "report none", 2), ("2>&-", "report none", 2)]
)
def test_a_stream_that_is_closed_changes_no_exit_code(closed: str, words: str, code: int) -> None:
    command = f"exec {sys.executable} -m bulkpresign {words} {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_interrupted_before_a_run_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(bulkpresign.ledger.report, "read_report", interrupted)
    done = CliRunner().invoke(app, ["report", "x"])
    assert (done.exit_code, done.output) == (130, "")


def test_the_first_lines_of_verbs_are_shown_whole() -> None:
    done = CliRunner().invoke(app, ["--help"], prog_name="bulkpresign", terminal_width=80)
    assert "..." not in done.output.partition("Commands:")[2]
    assert all(len(line) <= 80 for line in done.output.splitlines())


@pytest.mark.parametrize("words", [["help"], ["help", "help"]])
def test_help_as_a_verb(words: list[str]) -> None:
    assert said(*words) == said("--help")
    for verb in VERBS:
        assert said("help", verb) == said(verb, "--help")


@pytest.mark.parametrize(
    ("verb", "meant"),
    [
        ("gte", "get"),
        ("verfiy", "verify"),
        ("dwonload", "get"),
        ("download", "get"),
        ("upload", "put"),
        ("share", "sign"),
        ("diff", "verify"),
        ("cp", "get or put or copy"),
        ("sing", "sign"),
        ("rep", "report"),
        ("Get", "get"),
    ],
)
@pytest.mark.parametrize("before", [[], ["help"]])
def test_a_mistyped_verb(verb: str, meant: str, before: list[str]) -> None:
    done = CliRunner().invoke(app, [*before, verb, "links.csv"][: 2 if before else None], prog_name="bulkpresign")
    assert done.exit_code == 2
    assert f"Error: There is no verb {verb!r}: did you mean {meant}?\n" in done.stderr


def test_a_verb_like_none() -> None:
    done = CliRunner().invoke(app, ["xyzzy"], prog_name="bulkpresign")
    assert f"Error: There is no verb 'xyzzy': use one of {', '.join(VERBS)}.\n" in done.stderr


@pytest.mark.parametrize("before", [[], ["help"]])
def test_a_link_in_place_of_a_verb_keeps_its_query(before: list[str]) -> None:
    done = CliRunner().invoke(app, [*before, "https://u:pw@h/a?token=SECRET"], prog_name="bulkpresign")
    assert "Error: There is no verb 'https://h/a': use one of" in done.stderr


def test_a_mistyped_option() -> None:
    done = CliRunner().invoke(app, ["get", "x", "--concurency", "2"], prog_name="bulkpresign")
    assert done.exit_code == 2
    assert "--concurrency" in done.stderr


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("get l.csv -r", "leave it out; s3://bucket/prefix/ and a folder are taken with all that is below"),
        ("get l.csv --json", "use --progress json"),
        ("get l.csv --numworkers=4", "use --concurrency"),
        ("get l.csv -d to", "use --to DIR"),
        ("sign l.csv -O links.csv", "use -o FILE"),
        ("put l.csv -d from", "use --from DIR"),
        ("sign l.csv --expire 1h", "use --expires-in"),
        (
            "put in s3://b/ --storage-class STANDARD_IA",
            "use --header 'NAME: VALUE', such as 'x-amz-storage-class: STANDARD_IA'",
        ),
        ("copy s3://a/ s3://b/ --delete", "no verb deletes objects or files that the source does not have"),
    ],
)
def test_an_option_of_another_tool(words: str, advice: str) -> None:
    done = CliRunner().invoke(app, words.split(), prog_name="bulkpresign")
    assert done.exit_code == 2
    assert f"': {advice}.\n" in done.stderr


@pytest.mark.parametrize("words", ["--endpoint-url http://h get s3://b/ --to x", "-v get s3://b/ --to x"])
def test_an_option_before_its_verb(words: str) -> None:
    """Others want them there, as s5cmd does."""
    done = CliRunner().invoke(app, words.split(), prog_name="bulkpresign")
    option = words.split()[0]
    assert done.exit_code == 2
    assert f"No such option {option!r} before the verb: write it behind, as in bulkpresign get {option}" in done.stderr


def test_an_option_without_a_verb() -> None:
    done = CliRunner().invoke(app, ["--versoin"], prog_name="bulkpresign")
    assert done.exit_code == 2
    assert "--version" in done.stderr


def test_advice_names_options_that_exist() -> None:
    commands = [command for verb in VERBS if (command := app.get_command(click.Context(app), verb))]
    ours = {name for command in commands for param in command.params for name in param.opts}
    assert ours.issuperset(name for _, name, _ in HABITS if name is not None)


@pytest.mark.parametrize("verb", ["get", "put"])
def test_help_is_in_sections(verb: str) -> None:
    text = said(verb, "--help")
    titles = ["Arguments:", "Options:", "Transfer:", "Records:", "Renewal:", "Server:", "Messages:"]
    places = [text.index(f"\n{title}\n") for title in titles]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("bulkpresign ver", ["plain,verify"]),
        ("bulkpresign get --renew-c", ["plain,--renew-credentials", "plain,--renew-command"]),
        ("bulkpresign get li", ["file,li"]),
        ("bulkpresign get l.csv --to d", ["file,d"]),
    ],
)
def test_the_shell_completes(words: str, answers: list[str]) -> None:
    env = {"_BULKPRESIGN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": f"{len(words.split()) - 1}"}
    code = "from bulkpresign.cli import main; main()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, check=False)
    assert done.stdout.splitlines() == answers, done.stderr
