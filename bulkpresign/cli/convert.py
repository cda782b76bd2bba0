"""`bulkpresign convert`."""

from typing import TYPE_CHECKING, Any

import click

from bulkpresign.cli import filter_options, options
from bulkpresign.cli.help import Argument, Verb

if TYPE_CHECKING:
    from bulkpresign.pipeline.convert import ConvertReport


@click.command(cls=Verb)
@click.argument(
    "links",
    cls=Argument,
    nargs=-1,
    required=True,
    metavar="LINKS...",
    help="Tables of links, or of upload forms, or links (https://...); - for standard input.",
)
@options.output
@click.option(
    "--format",
    type=str.lower,
    metavar="curl|aria2|rclone|html|csv|jsonl|json|parquet|txt",
    help="The format. Default: the extension of FILE, such as links.curl, links.aria2 or links.html.",
)
@options.from_format
@filter_options.filters
@filter_options.limit
@options.progress
@options.quiet
def convert(output: str, progress: str, quiet: bool, **settings: Any) -> None:
    """Convert links for curl, aria2, rclone or a browser.

    Nothing is sent or signed. Names of files are the paths of the rows; in a list, a name that no file can have, or
    that two rows have, is an error. A page has GET links, or the upload forms of post, and at most 10,000 of them.

    \b
    bulkpresign convert links.csv -o links.curl       curl --parallel --config links.curl
    bulkpresign convert links.csv -o links.aria2      aria2c --input-file links.aria2
    bulkpresign convert links.csv -o links.rclone     rclone --no-gzip-encoding copyurl --urls links.rclone R:
    bulkpresign convert uploads.csv -o uploads.curl   in the folder with the files
    bulkpresign convert links.csv -o links.html
    bulkpresign convert forms.csv -o upload.html

    The exit code of these tools may hide that some files failed: bulkpresign verify LINKS --in DIR tells.
    """
    from bulkpresign.cli.runner import display, reporting_errors, run_verb, say_last
    from bulkpresign.cli.summary import no_rows
    from bulkpresign.ledger.counts import Counts
    from bulkpresign.pipeline.convert import convert as run
    from bulkpresign.text import counted

    with reporting_errors():
        settings["filters"] = filter_options.pop_filters(settings, has_limit=True)
    settings["links"] = list(settings["links"])
    counts = Counts("convert")
    report = run_verb(run, [counts], shown=display(progress, counts, quiet=quiet), output=output, **settings)
    notes = [] if report.done else [(f"{no_rows(settings['filters'])}: nothing to convert", "warning")]
    if report.expired:
        verb = "has" if report.expired == 1 else "have"
        noun, remedy = ("form", "run bulkpresign post again") if report.has_forms else ("link", "sign again")
        notes.append((f"{counted(report.expired, noun)} {verb} expired already: {remedy}", "warning"))
    if report.same_files:
        notes.append((_same_files(*report.same_files), "warning"))
    is_quiet = quiet or not report.done
    say_last(_summary(report, output), notes, counts, quiet=is_quiet, exit_code=0, links=report.done)


def _same_files(first: str, second: str) -> str:
    disk = "a disk that ignores case or the Unicode form, as on macOS and Windows"
    remedy = "there, one takes the place of the other; column path names another file"
    return f"{first} and {second} name one file on {disk}: {remedy}"


def _summary(report: "ConvertReport", output: str) -> str:
    from bulkpresign.text import counted

    links = counted(report.done, "form" if report.has_forms else "link") + (f" in {output}" if output != "-" else "")
    until = "" if report.expires_at is None else f", valid until {report.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"convert: {links}{until}"
