"""Manifests as partners send them back, or open them: altered by spreadsheets, browsers and mail programs."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.runs import get, refused
from tests.servers.proxy import FaultProxy
from tests.support.cli import run
from tests.support.folders import files
from tests.support.links import links

ENV = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def origin() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.objects = {"/b/x": b"object x"}
        yield proxy


@pytest.mark.parametrize("name", ["Download Link", "Lien", "presigned_url"])
def test_links_in_a_column_of_another_name_are_told(name: str, origin: FaultProxy, tmp_path: Path) -> None:
    """Their holder was asked for credentials of AWS."""
    (tmp_path / "l.csv").write_text(f"bucket,key,{name}\nb-1,x,{origin.url}/b/x?X-Amz-Signature=secret\n")
    assert refused(tmp_path, "l.csv", "--to", "d") == (
        f"error: l.csv:2: column {name}: it holds links, which are in a column url: give the column that name\n"
    )


def test_a_packed_manifest_that_a_browser_unpacked_under_its_name(origin: FaultProxy, tmp_path: Path) -> None:
    table = f"key,url\nx,{origin.url}/b/x?X-Amz-Signature=secret\n".encode()
    for name, content in (("l.csv.gz", table), ("l.csv", gzip.compress(table))):
        (tmp_path / name).write_bytes(content)
        get(tmp_path, name, "--to", f"to-{name}", code=0)
        assert files(tmp_path / f"to-{name}") == {"x": b"object x"}


@pytest.mark.parametrize("lost", range(1, 9))
def test_a_manifest_that_was_cut_off_gives_no_file_another_name(lost: int, origin: FaultProxy, tmp_path: Path) -> None:
    """As of a download that broke off. The last line end may be lost, or all of the path, which is the key then."""
    (tmp_path / "keys.csv").write_text("bucket,key\nbucket,d/x.txt\nbucket,d/z.txt\n")
    env = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": origin.url}
    signed = run("sign", "keys.csv", "-o", "l.csv", folder=tmp_path, env={**env, "AWS_DEFAULT_REGION": "us-east-1"})
    assert signed.returncode == 0, signed.stderr
    manifest = (tmp_path / "l.csv").read_bytes()
    assert manifest.endswith(b",d/z.txt\n")
    (tmp_path / "l.csv").write_bytes(manifest[:-lost])
    if lost in {1, 8}:
        origin.objects = {"/bucket/d/x.txt": b"x", "/bucket/d/z.txt": b"z"}
        get(tmp_path, "l.csv", "--to", "to", code=0)
        assert files(tmp_path / "to") == {"d/x.txt": b"x", "d/z.txt": b"z"}
    else:
        assert "error: l.csv:3: column path: the last row is cut off: " in refused(tmp_path, "l.csv", "--to", "to")


@pytest.mark.parametrize(
    ("key", "name", "form"), [("\xe9.txt", "e\u0301.txt", "NFD"), ("e\u0301.txt", "\xe9.txt", "NFC")]
)
def test_a_file_whose_name_is_in_another_unicode_form(
    key: str, name: str, form: str, origin: FaultProxy, tmp_path: Path
) -> None:
    """As of macOS and its archives: the two names look the same in every message."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"x")
    row = {"method": "PUT", "url": f"{origin.url}/b/x?X-Amz-Signature=secret", "path": key, "size": "1"}
    links(tmp_path / "l.csv", [row])
    hint = f"a file with the same letters in {form} is there: rename it"
    put = run("put", "l.csv", "--from", "in", folder=tmp_path, env={})
    assert (put.returncode, put.stderr.splitlines()[0].endswith(f"No such file or directory; {hint}")) == (1, True)
    verified = run("verify", "l.csv", "--in", "in", folder=tmp_path, env={})
    assert verified.stderr.splitlines()[0] == f"missing: {key}: there is no such file; {hint}"
    (tmp_path / "k.csv").write_text(f"bucket,key\nbucket,{key}\n")
    signed = run("sign", "k.csv", "--method", "PUT", "--checksum", "crc32c", "--from", "in", folder=tmp_path, env=ENV)
    assert signed.stderr.endswith(f"No such file or directory; {hint}\n")


@pytest.mark.parametrize("name", ["l.txt", "l.csv", "l.unknown"])
@pytest.mark.parametrize(
    ("tool", "command"),
    [
        ("curl", "curl (curl --config reads it)"),
        ("aria2", "aria2c (aria2c --input-file reads it)"),
        ("rclone", "rclone (rclone copyurl --urls reads it)"),
    ],
)
def test_a_list_for_another_tool_is_told(tool: str, command: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "k.csv").write_text('bucket,key\nbucket,a\nbucket,"b,c"\n')
    env = {**ENV, "AWS_ENDPOINT_URL": "http://localhost:1"}
    assert run("sign", "k.csv", "-o", "links.csv", folder=tmp_path, env=env).returncode == 0
    assert run("convert", "links.csv", "-o", f"l.{tool}", folder=tmp_path, env={}).returncode == 0
    (tmp_path / f"l.{tool}").rename(tmp_path / name)
    problem = f"a list of links for {command}: use the table that it was made of"
    assert refused(tmp_path, name, "--to", "to") == f"error: {name}:1: {problem}\n"


@pytest.mark.parametrize(("suffix", "program"), [("zst", "zstdcat"), ("xz", "xzcat"), ("bz2", "bzcat")])
def test_the_program_that_unpacks_a_file_is_named(suffix: str, program: str, tmp_path: Path) -> None:
    hint = f"use .gz, or a pipe to read it, as <({program} FILE)"
    assert refused(tmp_path, f"l.{suffix}", "--to", "to").endswith(f"is not read or written: {hint}\n")
