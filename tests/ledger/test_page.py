"""The page of a journal: what is in it, and what must not be."""

import hashlib
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from bulkpresign.ledger.figures import read_figures
from bulkpresign.ledger.journal import Journal
from bulkpresign.ledger.page.page import page_of
from bulkpresign.ledger.report import read_report
from bulkpresign.markup import element
from bulkpresign.model import ObjectRef, Outcome
from tests.ledger.journals import AWKWARD, MARKUP, SIGNATURE, START, journal, of_all_kinds

#: The most memory in KiB that a hundred times as many rows may take more: SQLite fills its caches.
MORE_MEMORY = 10 * 1024


class Tree(HTMLParser):
    """The tags of a page with their attributes, and its text. Checks that elements end in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text.append(data)

    def of(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.tags if name == tag)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def tree_of(*files: Path) -> Tree:
    return Tree(page_of([(file.name, read_figures(file)) for file in files]))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return of_all_kinds(tmp_path_factory.mktemp("page") / "data.journal")


@pytest.fixture(scope="module")
def page(file: Path) -> str:
    return page_of([("data.journal", read_figures(file))])


@pytest.fixture(scope="module")
def tree(page: str) -> Tree:
    return Tree(page)


def test_names_and_messages_of_strangers_are_text(page: str, tree: Tree) -> None:
    text = "".join(tree.text)
    assert MARKUP in text
    assert f"403 {MARKUP}\\x1b " in text
    assert "s3://b/\\u202ertl\\x07" in text
    assert AWKWARD[3] in text
    assert "x" * 500 not in text  # the middle of a long name is left out
    assert "<script" not in page.lower()
    assert "<!--" not in page


def test_no_secret(page: str) -> None:
    assert SIGNATURE not in page
    assert "X-Amz-" not in page


def test_it_needs_nothing_else(page: str, tree: Tree) -> None:
    assert not {tag for tag, _ in tree.tags} & {"link", "script", "img", "iframe", "object", "form", "base"}
    assert not {name for _, attributes in tree.tags for name in attributes} & {"src", "href", "style"}
    (policy,) = (str(meta["content"]) for meta in tree.of("meta") if "http-equiv" in meta)
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert not re.search(r"url\(|@import", style[1])


def test_headings_tables_and_charts_can_be_heard(tree: Tree) -> None:
    assert list(tree.of("html")) == [{"lang": "en"}]
    assert "Report: get to /srv/archive" in tree.text
    levels = [int(tag[1]) for tag, _ in tree.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[:3] == [1, 2, 3]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    tables, rows = len(list(tree.of("table"))), len(list(tree.of("tr")))
    assert tables == len(list(tree.of("caption"))) == 5
    scopes = [heading.get("scope") for heading in tree.of("th")]
    assert set(scopes) == {"row", "col"}
    assert scopes.count("row") == rows - tables
    charts = [n for n, (tag, attributes) in enumerate(tree.tags) if tag == "svg" and attributes.get("role") == "img"]
    assert [[tag for tag, _ in tree.tags[n + 1 : n + 3]] for n in charts] == [["title", "desc"]] * 2


def test_every_count_of_the_report_is_there(file: Path, tree: Tree) -> None:
    report = read_report(file)
    missing = report.failed + report.expired
    for words in (
        f"{missing} of {report.objects} objects are not done. Nothing proves the bytes of ",
        f"Done {report.done} 0 skipped, {report.retries} retries",
        f"Not done {missing} {report.failed} failed, {report.expired} expired",
        "Bound by the server's latency (48 ms) 412 requests in flight at most",
        "1 pause of 1d 00:56:40 in total left out",
        *(f" {count} " for count in (*report.verified_by.values(), *report.errors.values())),
        *report.errors,
        "from data.journal",
    ):
        assert words in tree.words


def test_a_journal_without_objects(tmp_path: Path) -> None:
    tree = tree_of(journal(tmp_path / "x.journal", []))
    assert "The journal has no objects." in tree.words
    assert not list(tree.of("table"))


@pytest.mark.parametrize("status", ["done", "skipped", "failed", "expired"])
def test_one_object(tmp_path: Path, status: str) -> None:
    outcome = Outcome(ObjectRef("b", "k"), status, code="NoSuchKey", verified_by="md5")  # type: ignore[arg-type]
    words = tree_of(journal(tmp_path / "x.journal", [(START, outcome)])).words
    assert ("The object is done." if status in {"done", "skipped"} else "1 of 1 object is not done.") in words
    assert ("All bytes that were moved are proven" in words) == (status == "done")


def test_a_run_that_goes_on_is_not_done(tmp_path: Path) -> None:
    """The journal has only objects with an outcome: that all of them are done says nothing of the others."""
    file = tmp_path / "x.journal"
    with Journal(file, "get", "/srv/archive") as opened:
        opened.begin_run()
        opened.record([Outcome(ObjectRef("b", "k"), "done", verified_by="md5")], [START])
        assert "The run is not complete: it goes on, or was stopped. So far, 1 object is done." in tree_of(file).words
        opened.end_run()
        assert "The object is done." in tree_of(file).words


def test_several_journals_have_a_table_of_contents(tmp_path: Path) -> None:
    tree = tree_of(*(journal(tmp_path / f"{verb}.journal", [], verb=verb) for verb in ("get", "put")))
    assert [link["href"] for link in tree.of("a")] == ["#journal-1", "#journal-2"]
    assert [article["id"] for article in tree.of("article")] == ["journal-1", "journal-2"]


def test_elements() -> None:
    made = element("p", "a", None, element("b", "c"), "d", "e", class_="x", fill_opacity=0.5)
    assert ("".join(made.itertext()), made.attrib) == ("acde", {"class": "x", "fill-opacity": "0.5"})


FILL = """
import sqlite3, sys
from bulkpresign.ledger.journal import Journal

with Journal(sys.argv[1], "get", "/srv/archive"):
    pass
with sqlite3.connect(sys.argv[1]) as database:
    database.execute(
        "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < ?) "
        "INSERT INTO outcomes SELECT n + 1, printf('https://host#b#%09d##', n), iif(n % 9, 'done', 'failed'), n, "
        "1 + n % 3, 'md5', 'code ' || n % 50, 'message', n / 5.0, abs(random()) / 1e16, n, 0, 0, "
        "NULL, NULL, NULL, NULL FROM n",
        (int(sys.argv[2]) - 1,),
    )
    database.execute("INSERT INTO moved SELECT CAST(finished_at AS INTEGER), sum(bytes) FROM outcomes GROUP BY 1")
    database.execute("UPDATE outcomes SET id = replace(id, '#', char(0))")
"""
DRAW = """
import re, sys
from pathlib import Path
from bulkpresign.ledger.figures import read_figures
from bulkpresign.ledger.page.page import page_of

page = page_of([("x", read_figures(sys.argv[1]))])
print(len(page.encode()), *re.findall("VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()))
"""


def drawn(file: Path, rows: int) -> tuple[int, int]:
    """The bytes of a page, and the memory (KiB) of the process that made it."""
    subprocess.run([sys.executable, "-c", FILL, str(file), str(rows)], check=True)
    done = subprocess.run([sys.executable, "-c", DRAW, str(file)], capture_output=True, text=True, check=True)
    size, memory = map(int, done.stdout.split())
    return size, memory


@pytest.mark.slow
def test_a_million_objects_take_no_more_memory_and_make_a_small_page(tmp_path: Path) -> None:
    _, before = drawn(tmp_path / "small.journal", 10_000)
    size, memory = drawn(tmp_path / "large.journal", 1_000_000)
    assert size < 300_000
    assert memory - before < MORE_MEMORY
