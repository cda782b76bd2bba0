import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import requests

import bulkpresign as bp
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.server import S3Server


@pytest.fixture(autouse=True)
def _env(seaweedfs: S3Server, aws_env: AwsEnv) -> None:
    aws_env(seaweedfs)


def forms(folder: Path, text: str, **options: Any) -> list[dict[str, Any]]:
    (folder / "keys.csv").write_text(text)
    asyncio.run(bp.post(folder / "keys.csv", folder / "forms.json", **options))
    found: list[dict[str, Any]] = json.loads((folder / "forms.json").read_text())
    return found


def upload(form: dict[str, Any], body: bytes, **more: str) -> int:
    fields = form["fields"] | more
    return requests.post(form["url"], data=fields, files={"file": ("up.png", body)}).status_code


def test_a_form_takes_what_it_allows_and_nothing_else(
    tmp_path: Path, seaweedfs: S3Server, boto: Boto, make_bucket: MakeBucket
) -> None:
    bucket = make_bucket(seaweedfs)
    made = forms(tmp_path, "key,note\na b.png,n\nin/${filename},\n", bucket=bucket, max_size=10, content_type="image/*")
    assert list(made[0]) == ["bucket", "key", "url", "fields", "expires_at", "path", "note"]
    assert made[0]["note"] == "n"
    assert upload(made[0], b"x" * 11, **{"Content-Type": "image/png"}) >= 400
    assert upload(made[0], b"x", **{"Content-Type": "text/html"}) >= 400
    assert upload(made[0], b"x" * 10, **{"Content-Type": "image/png"}) < 300
    assert upload(made[1], b"y", **{"Content-Type": "image/png"}) < 300
    keys = [item["Key"] for item in boto(seaweedfs).list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["a b.png", "in/up.png"]


def test_one_type_stands_in_the_fields(tmp_path: Path, seaweedfs: S3Server, make_bucket: MakeBucket) -> None:
    (form,) = forms(tmp_path, "key\na\n", bucket=make_bucket(seaweedfs), content_type="text/plain")
    assert form["fields"]["Content-Type"] == "text/plain"
    assert upload(form, b"x") < 300
    assert upload(form, b"x", **{"Content-Type": "text/html"}) >= 400


@pytest.mark.parametrize("options", [{"max_size": 0}, {"expires_in": 0}, {"format": "xml"}])
def test_what_can_not_be_is_told_first(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "keys.csv").write_text("key\na\n")
    with pytest.raises(bp.ParameterError):
        asyncio.run(bp.post(tmp_path / "keys.csv", tmp_path / "forms", bucket="b-1", **options))
    assert [file.name for file in tmp_path.iterdir()] == ["keys.csv"]


def test_a_column_sets_the_type_of_its_row(tmp_path: Path, seaweedfs: S3Server, make_bucket: MakeBucket) -> None:
    text = "key,content_type\na,text/x\nb,\nc,image/*\nd,text/x\n"
    made = forms(tmp_path, text, bucket=make_bucket(seaweedfs), content_type="text/plain")
    assert [form["key"] for form in made] == ["a", "b", "c", "d"]
    assert [form["fields"].get("Content-Type") for form in made] == ["text/x", "text/plain", None, "text/x"]
    assert [upload(form, b"x") < 300 for form in made] == [True, True, False, True]
    assert upload(made[0], b"x", **{"Content-Type": "text/plain"}) >= 400
    assert upload(made[2], b"x", **{"Content-Type": "image/png"}) < 300
    assert upload(made[2], b"x", **{"Content-Type": "text/x"}) >= 400


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,max_size\na,\nb,10\n", "keys.csv:3: column max_size: post has one for all rows of a run: --max-size"),
        ("key,success_status\na,201\n", "keys.csv:2: column success_status: post has one for all rows of a run"),
        ("key,expires_in\na,60\n", "keys.csv:2: column expires_in: post has one for all rows of a run: --expires-in"),
        (
            'key,url,method,headers\na,https://h/a,PUT,{}\nb,https://h/b,PUT,"{""Content-Type"":""x""}"\n',
            "keys.csv:3: column headers: a form does not have the signed headers of a link: leave the column out",
        ),
    ],
)
def test_columns_that_forms_can_not_have_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(bp.ManifestError) as caught:
        forms(tmp_path, text, bucket="b-1")
    assert str(caught.value).removeprefix(f"{tmp_path}/").startswith(message)
    assert [file.name for file in tmp_path.iterdir()] == ["keys.csv"]


def test_links_without_signed_headers_become_forms(tmp_path: Path) -> None:
    text = "key,url,method,headers,max_size\na,https://h/a,PUT,{},\nb,https://h/b,PUT,,\n"
    assert [form["key"] for form in forms(tmp_path, text, bucket="b-1")] == ["a", "b"]
