"""The forms of SOURCE on the command line: patterns, missing keys, and single links."""

import csv
import io
import shutil
from pathlib import Path

import pytest

from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import CREDENTIALS, run
from tests.support.folders import names_in

KEYS = ("v1/a.parquet", "v1/b.parquet", "v1/c.csv", "v1/deep/d.parquet", "v1-other", "v2.txt", "w")


class Scene:
    """A folder, and a bucket with `KEYS`; the body of each object is its key."""

    def __init__(self, folder: Path, server: S3Server, bucket: str) -> None:
        self.folder, self.bucket, self._env = folder, bucket, server.environment

    def sign(self, key: str, *options: str) -> list[tuple[str, str]]:
        """Key and path of each row that `sign` writes."""
        done = run("sign", f"s3://{self.bucket}/{key}", *options, "-q", folder=self.folder, env=self._env)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return [(row["key"], row["path"]) for row in csv.DictReader(io.StringIO(done.stdout, newline=""))]

    def error(self, *arguments: str) -> str:
        """The one line with which it refuses, having left nothing behind."""
        before = names_in(self.folder)
        done = run(*arguments, folder=self.folder, env=self._env)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert names_in(self.folder) == before
        return done.stderr.removeprefix("error: ").rstrip("\n")

    def run(self, *arguments: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        """Its standard error, after a check of the exit code."""
        done = run(*arguments, folder=self.folder, env=self._env if env is None else env)
        assert done.returncode == code, done.stderr
        return done.stderr


def filled(folder: Path, server: S3Server, boto: Boto, bucket: str, keys: tuple[str, ...] = KEYS) -> Scene:
    for key in keys:
        boto(server).put_object(Bucket=bucket, Key=key, Body=key.encode())
    return Scene(folder, server, bucket)


@pytest.fixture
def scene(tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket) -> Scene:
    return filled(tmp_path, seaweedfs, boto, make_bucket(seaweedfs))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("v1/*.parquet", [("v1/a.parquet", "a.parquet"), ("v1/b.parquet", "b.parquet")]),
        ("v1/[ac].*", [("v1/a.parquet", "a.parquet"), ("v1/c.csv", "c.csv")]),
        ("v?.txt", [("v2.txt", "v2.txt")]),
        (
            "v1/**.parquet",
            [("v1/a.parquet", "a.parquet"), ("v1/b.parquet", "b.parquet"), ("v1/deep/d.parquet", "deep/d.parquet")],
        ),
        ("*/deep/*", [("v1/deep/d.parquet", "v1/deep/d.parquet")]),
        ("v1/d*/", [("v1/deep/d.parquet", "deep/d.parquet")]),
    ],
)
def test_patterns_are_matched_against_a_listing(scene: Scene, pattern: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(scene.sign(pattern)) == expected


def test_get_takes_patterns(scene: Scene) -> None:
    scene.run("get", f"s3://{scene.bucket}/v1/*.parquet", "--to", "to")
    assert names_in(scene.folder / "to") == ["a.parquet", "b.parquet"]


def test_post_takes_patterns(scene: Scene) -> None:
    assert scene.run("post", f"s3://{scene.bucket}/v1/*.parquet", "-o", "f.json") == "post: 2 forms in f.json\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("v1/*.pdf", "no object matches s3://{}/v1/*.pdf; --literal is for a key that holds * ? or [ itself"),
        ("v1", "s3://{0}/v1 is no object; objects lie under s3://{0}/v1/: write that"),
        ("v1/x", "s3://{0}/v1/x is no object, and no objects lie under s3://{0}/v1/x/"),
        ("[z-a]", "the range z-a of the pattern is reversed"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_no_link_leads_to_nothing(scene: Scene, source: str, words: str, method: str) -> None:
    arguments = ["sign", f"s3://{scene.bucket}/{source}", "-o", "l.csv", "--method", method]
    assert scene.error(*arguments) == words.format(scene.bucket)


def test_get_tells_a_prefix_from_a_key(scene: Scene) -> None:
    said = scene.run("get", f"s3://{scene.bucket}/v1", "--to", "to", code=2)
    assert f"error: s3://{scene.bucket}/v1 is no object; objects lie under s3://{scene.bucket}/v1/: write that" in said
    said = scene.run("get", f"s3://{scene.bucket}/none", f"s3://{scene.bucket}/w", "--to", "to", code=1)
    assert f"failed: s3://{scene.bucket}/none: 404 NoSuchKey" in said
    assert (scene.folder / "to" / "w").read_text() == "w"


def test_links_that_upload_need_no_object(scene: Scene) -> None:
    assert scene.sign("v1", "--method", "PUT") == [("v1", "v1")]
    assert scene.sign("new", "--method", "PUT") == [("new", "new")]


@pytest.mark.parametrize("which", ["seaweedfs", "ceph", "ministack", "rclone"])
def test_a_key_is_found_among_its_like(
    request: pytest.FixtureRequest, tmp_path: Path, boto: Boto, make_bucket: MakeBucket, which: str
) -> None:
    """Beside a prefix of its name, and behind one that comes before it in the order of a listing."""
    server: S3Server = request.getfixturevalue(which)
    keys = ("b/c", "b-1", "b.txt", "a") if which == "rclone" else ("b", "b/c", "b-1", "b.txt", "a")
    scene = filled(tmp_path, server, boto, make_bucket(server), keys)
    for key in set(keys) - {"b/c"}:
        assert scene.sign(key) == [(key, key)]
    assert scene.sign("b/c") == [("b/c", "b/c")]
    assert scene.sign("b/*") == [("b/c", "c")]
    if which == "rclone":
        assert "write that" in scene.error("sign", f"s3://{scene.bucket}/b", "-o", "l.csv")


def test_keys_that_hold_special_characters(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    keys = ("in/[1].csv", "in/1.csv", "in/a*b.csv", "in/acb.csv", "in/q?.csv", "x*/y.csv")
    scene = filled(tmp_path, seaweedfs, boto, make_bucket(seaweedfs), keys)
    assert scene.sign("in/[1].csv") == [("in/1.csv", "1.csv")]
    for key in keys:
        assert scene.sign(key, *(["--literal"] if set(key) & set("*?[") else [])) == [(key, key)]
    assert scene.sign("x*/", "--literal") == [("x*/y.csv", "y.csv")]
    scene.run("get", f"s3://{scene.bucket}/in/[1].csv", "--to", "to", "--literal")
    assert (tmp_path / "to" / "in" / "[1].csv").read_text() == "in/[1].csv"
    (tmp_path / "keys.txt").write_text("in/a*b.csv\n")
    done = run("sign", "keys.txt", "--bucket", scene.bucket, folder=tmp_path, env=seaweedfs.environment)
    assert [row["key"] for row in csv.DictReader(done.stdout.splitlines())] == ["in/a*b.csv"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["s3://b-1/", "--bucket", "b-2"], "bucket is for the rows of tables, and no source is a table"),
        (["s3://b-1/", "--from-format", "csv"], "from-format is for the rows of tables, and no source is a table"),
        (["keys.txt", "--bucket", "b-1", "--literal"], "literal is for keys of s3:// sources, and there is none"),
    ],
)
@pytest.mark.parametrize("verb", ["sign", "post"])
def test_an_option_that_nothing_uses_is_reported(scene: Scene, arguments: list[str], words: str, verb: str) -> None:
    (scene.folder / "keys.txt").write_text("a\n")
    assert scene.error(verb, *arguments, "-o", "out.json") == words


def test_all_versions_are_signed_and_downloaded(scene: Scene, seaweedfs: S3Server, boto: Boto) -> None:
    client = boto(seaweedfs)
    client.put_bucket_versioning(Bucket=scene.bucket, VersioningConfiguration={"Status": "Enabled"})
    put = [client.put_object(Bucket=scene.bucket, Key="in/r.pdf", Body=body)["VersionId"] for body in (b"1", b"22")]
    client.delete_object(Bucket=scene.bucket, Key="in/r.pdf")
    expected = {f"r.{version}.pdf": body for version, body in zip(put, (b"1", b"22"), strict=True)}
    for source in ("in/", "in/*.pdf", "in/r.pdf"):
        uri = f"s3://{scene.bucket}/{source}"
        prefix = "in/" if source == "in/r.pdf" else ""
        signed = scene.sign(source, "--all-versions")
        assert sorted(path for _, path in signed) == sorted(prefix + name for name in expected)
        scene.run("get", uri, "--to", "to", "--all-versions")
        assert {path.name: path.read_bytes() for path in (scene.folder / "to" / prefix).iterdir()} == expected
        assert "2 skipped" in scene.run("get", uri, "--to", "to", "--all-versions")
        shutil.rmtree(scene.folder / "to")
        (scene.folder / "to.journal").unlink()
    (scene.folder / "keys.txt").write_text("a\n")
    words = "all-versions is for s3:// sources, and there is none"
    assert scene.error("sign", "keys.txt", "--bucket", scene.bucket, "--all-versions") == words
    assert scene.error("get", "keys.txt", "--bucket", scene.bucket, "--all-versions", "--to", "to") == words


def test_listings_tell_when_objects_were_stored(scene: Scene, seaweedfs: S3Server, boto: Boto) -> None:
    told = boto(seaweedfs).head_object(Bucket=scene.bucket, Key="w")["LastModified"]
    env = seaweedfs.environment
    for source in (f"s3://{scene.bucket}/", f"s3://{scene.bucket}/w", f"s3://{scene.bucket}/w*"):
        done = run("sign", source, "-o", "l.csv", folder=scene.folder, env=env)
        assert done.returncode == 0, done.stderr
        with (scene.folder / "l.csv").open(newline="") as stream:
            header, *rows = csv.reader(stream)
        assert header[-2:] == ["path", "last_modified"]
        (row,) = [row for row in rows if row[1] == "w"]
        assert row[-1] == f"{told:%Y-%m-%dT%H:%M:%SZ}"
    run("sign", "l.csv", "-o", "again.csv", folder=scene.folder, env=env)
    (again,) = csv.DictReader((scene.folder / "again.csv").read_text().splitlines())
    assert again["last_modified"] == row[-1]
    (scene.folder / "keys.csv").write_text("bucket,key,note\nb-1,k,n\n")
    mixed = run("sign", "keys.csv", f"s3://{scene.bucket}/w", folder=scene.folder, env=env)
    assert [row["last_modified"] for row in csv.DictReader(mixed.stdout.splitlines())] == ["", row[-1]]


def links_to(scene: Scene, seaweedfs: S3Server, boto: Boto, *keys: str) -> list[str]:
    """A link from a message, on the command line."""
    sign = boto(seaweedfs).generate_presigned_url
    return [sign("get_object", {"Bucket": scene.bucket, "Key": key}) for key in keys]


def test_get_downloads_through_links_as_they_are(scene: Scene, seaweedfs: S3Server, boto: Boto) -> None:
    links = links_to(scene, seaweedfs, boto, "w", "v1/c.csv")
    said = scene.run("get", *links, "--to", "to", "-v", env={})
    assert said.startswith("get: 2 done; ")
    assert (scene.folder / "to" / scene.bucket / "v1" / "c.csv").read_text() == "v1/c.csv"
    assert scene.run("get", *links, "--to", "to", "-v", env={}).startswith("get: 0 done, 2 skipped")
    mixed = scene.run("get", links[0], f"s3://{scene.bucket}/v2.txt", "--to", "mixed", "-v")
    assert mixed.startswith("get: 2 done; ")


@pytest.mark.parametrize(
    "url",
    [
        "https://my-data.s3.amazonaws.com",
        "https://my-data.s3.amazonaws.com/reports/",
        "https://eu-west-1.console.aws.amazon.com/s3/buckets/my-data?prefix=reports/",
    ],
)
def test_the_url_of_a_bucket_is_no_link(url: str, tmp_path: Path) -> None:
    done = run("get", url, "--to", "to", folder=tmp_path, env={})
    shown = url.partition("?")[0]
    assert done.returncode == 2
    assert done.stderr == f"error: {shown} is no link to an object; objects of a bucket are s3://bucket/prefix/\n"


def test_no_message_shows_what_a_link_is_signed_with(scene: Scene, seaweedfs: S3Server, boto: Boto) -> None:
    links = links_to(scene, seaweedfs, boto, "w", "w", "none")
    place = links[0].partition("?")[0]
    secret = links[0].partition("X-Amz-Signature=")[2]
    told = [
        (["get", links[2], "--to", "to", "-v", "--failures", "f.csv"], 1, "404 NoSuchKey"),
        (["get", links[0].replace(secret, "0" * 64), "--to", "to", "-v"], 1, "SignatureDoesNotMatch"),
        (["get", links[0], links[1], "--to", "to", "-v"], 2, "given links:2: column path: path "),
        (["get", "http://[/a?X-Amz-Signature=s", "--to", "to"], 2, "given links:1: column url: 'http://[/a'"),
        (["get", f"{place}/?X-Amz-Signature=s", "--to", "to"], 2, f"error: {place}/ is no link to an object; objects"),
        (["sign", links[0], "-o", "l.csv"], 2, f"{place} is a link: it can't be signed again without its bucket"),
        (["post", links[0], "-o", "l.json"], 2, f"{place} is a link: a form can't be signed"),
        (["put", links[0], "--from", "."], 2, f"{place} is a link: only get takes a link by itself"),
        (["verify", links[0], "--in", "."], 2, f"{place} is a link: only get"),
        (["abort", links[0]], 2, f"{place} is a link: only get"),
        (["put", links[0], f"s3://{scene.bucket}/"], 2, ""),
        (["sign", "s3://b-1/k", "-o", links[0]], 2, ""),
        (["get", "l.csv", "--to", "to", "--failures", links[0]], 2, ""),
        (["get", "l.csv", "--to", "to", "--journal", links[0]], 2, ""),
    ]
    for arguments, code, words in told:
        said = scene.run(*arguments, code=code)
        assert words in said, said
        assert "X-Amz-" not in said and secret not in said, said


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (Fault(403, body=b"<Error><Code>AccessDenied</Code></Error>"), 0, "sign: 1 link in l.csv\n"),
        (Fault(501, body=b"<Error><Code>NotImplemented</Code></Error>"), 0, "sign: 1 link in l.csv\n"),
        (
            Fault(403, body=b"<Error><Code>InvalidAccessKeyId</Code></Error>"),
            2,
            "error: s3://b-1/none can't be listed: ",
        ),
    ],
)
def test_a_key_is_signed_where_nobody_may_list(tmp_path: Path, fault: Fault, code: int, words: str) -> None:
    with FaultProxy() as proxy:
        proxy.always = fault
        env = {**CREDENTIALS, "AWS_ENDPOINT_URL": proxy.url}
        done = run("sign", "s3://b-1/none", "-o", "l.csv", folder=tmp_path, env=env)
    assert (done.returncode, done.stderr[: len(words)]) == (code, words)


def test_paths_that_several_sources_have_are_told(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    """`get` refuses the manifest, maybe at a partner's."""
    keys = ("p1/x.txt", "p1/y.txt", "p2/w.txt", "p2/x.txt", "p2/y.txt", "p3/z.txt")
    scene = filled(tmp_path, seaweedfs, boto, make_bucket(seaweedfs), keys)
    one, two, three = sources = [f"s3://{scene.bucket}/{prefix}" for prefix in ("p1/", "p2/*", "p3/z.txt")]
    said = scene.run("sign", *sources, "-o", "links.csv")
    first = f"s3://{scene.bucket}/p2/x.txt has that of s3://{scene.bucket}/p1/x.txt"
    remedy = "get refuses such a manifest; sign each source to a manifest of its own"
    assert said.splitlines()[1:] == [f"warning: 2 rows have the path of an earlier row, as {first}: {remedy}"]
    assert "path 'x.txt' is the path of links.csv:2 as well" in scene.error("get", "links.csv", "--to", "to")
    assert "warning" not in scene.run("sign", one, three, "-o", "links.csv")
    assert "warning" not in scene.run("sign", one, two, "-o", "urls.txt")
    assert "warning" not in scene.run("sign", one, two, "--method", "PUT", "-o", "puts.csv")
    assert "warning" not in scene.run("sign", one, "--to", f"s3://{scene.bucket}/to/", "-o", "copies.csv")
