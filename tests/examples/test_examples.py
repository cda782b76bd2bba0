"""Every example runs as its own docstring says, against a real server."""

import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import bulkpresign as bp
from tests.conftest import AwsEnv, Boto, MakeBucket
from tests.servers.server import S3Server

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., str]


@pytest.fixture
def bucket(seaweedfs: S3Server, make_bucket: MakeBucket) -> str:
    return make_bucket(seaweedfs)


@pytest.fixture
def client(seaweedfs: S3Server, boto: Boto) -> Any:
    return boto(seaweedfs)


@pytest.fixture
def run(seaweedfs: S3Server) -> Run:
    """`run("name.py", *arguments)`: what the example prints."""

    def run_example(name: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / name), *arguments],
            env=os.environ | seaweedfs.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_example


@pytest.fixture
def service(seaweedfs: S3Server, bucket: str) -> Iterator[str]:
    """The url of `web_service.py`, which signs for `bucket`."""
    with running_service(seaweedfs.environment | {"BUCKET": bucket}) as url:
        yield url


@contextmanager
def running_service(environment: Mapping[str, str]) -> Iterator[str]:
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", "web_service:app"]
    env = os.environ | environment | {"PYTHONPATH": str(EXAMPLES.parent)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = ""
        try:
            while not (found := re.search(r"running on (http://127.0.0.1:\d+)", said)):
                line = process.stdout.readline()
                assert line, said
                said += line
            yield found[1]
        finally:
            process.terminate()
            said += process.stdout.read()
    assert "Application shutdown complete" in said
    assert "Exception in ASGI application" not in said
    assert "X-Amz-Signature" not in said


def test_every_example_has_a_test() -> None:
    text = Path(__file__).read_text()
    names = [example.stem for example in EXAMPLES.glob("*.py")]
    assert [name for name in names if not re.search(rf'"{name}(\.py|:app)"', text)] == []


def test_download_with_requests(run: Run, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="a b+c/é.txt", Body=b"hello")
    assert "a b+c/é.txt: 5 bytes" in run("download_with_requests.py", bucket, "a b+c/é.txt")


@pytest.fixture
def shards(seaweedfs: S3Server, client: Any, bucket: str, tmp_path: Path) -> Path:
    """A folder with two shards of a manifest of links to ten objects."""
    for number in range(10):
        client.put_object(Bucket=bucket, Key=f"d/{number}", Body=b"object %d" % number)
    for words in (["sign", f"s3://{bucket}/d/", "-o", "links.csv"], ["split", "links.csv", "-n", "2", "-q"]):
        command = [sys.executable, "-m", "bulkpresign", *words]
        subprocess.run(command, cwd=tmp_path, env=os.environ | seaweedfs.environment, check=True)
    return tmp_path


def run_script(script: list[str], folder: Path, **env: str) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(script, cwd=folder, env=os.environ | env | {"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def stored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


OBJECTS = {f"{number}": b"object %d" % number for number in range(10)}


def test_slurm_array(shards: Path) -> None:
    for task in ("1", "2"):
        run_script(["bash", str(EXAMPLES / "slurm_array.sh"), "data"], shards, SLURM_ARRAY_TASK_ID=task)
    assert stored(shards / "data") == OBJECTS
    run_script(["bash", "-c", "bulkpresign merge data-*.journal -o data.journal"], shards)


def test_kubernetes_indexed_job(shards: Path) -> None:
    """It is parsed, and what its pods run is run here, with another path for the volume."""
    job = yaml.safe_load((EXAMPLES / "kubernetes_indexed_job.yaml").read_text())
    assert (job["kind"], job["spec"]["completionMode"]) == ("Job", "Indexed")
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert "env" not in container
    assert "\nexec bulkpresign" in container["command"][-1], "the pod's SIGTERM is for it, and a shell would keep it"
    (shards / "manifests").mkdir()
    for shard in shards.glob("links-*.csv"):
        shard.rename(shards / "manifests" / shard.name)
    command = [word.replace("/volume", str(shards)) for word in container["command"]]
    for index in ("0", "1"):
        run_script(command, shards, JOB_COMPLETION_INDEX=index)
    assert stored(shards / "data") == OBJECTS


def test_any_operation(run: Run, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="gone.txt", Body=b"12345")
    printed = run("any_operation.py", bucket, "gone.txt")
    assert printed.splitlines() == [
        "list_buckets: 200",
        "head_object: 5 bytes",
        "list_objects_v2: True",
        "delete_object: 204",
    ]
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_upload_form_with_requests(run: Run, client: Any, bucket: str, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    file.write_bytes(bytes(range(256)))
    assert "204" in run("upload_form_with_requests.py", bucket, "in/x.bin", str(file))
    assert client.get_object(Bucket=bucket, Key="in/x.bin")["Body"].read() == file.read_bytes()


def test_upload_with_curl(run: Run, client: Any, bucket: str, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_bytes(b"by curl")
    run("upload_with_curl.py", bucket, "in/y.txt", str(file))
    found = client.get_object(Bucket=bucket, Key="in/y.txt")
    assert (found["Body"].read(), found["ContentType"], found["Metadata"]) == (
        b"by curl",
        "text/plain",
        {"origin": "curl"},
    )


def test_upload_page_in_a_browser(
    run: Run, client: Any, bucket: str, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    page, file = tmp_path / "upload.html", tmp_path / "from a browser.txt"
    page.write_text(run("upload_page.py", bucket, "incoming/${filename}"))
    file.write_bytes(b"by a browser")
    browser.get(page.as_uri())
    browser.find_element(By.NAME, "file").send_keys(str(file))
    browser.find_element(By.TAG_NAME, "button").click()
    WebDriverWait(browser, 20).until(lambda driver: driver.current_url.startswith("http"))
    found = client.get_object(Bucket=bucket, Key="incoming/from a browser.txt")
    assert found["Body"].read() == b"by a browser"


def test_hand_out_a_dataset(run: Run, client: Any, bucket: str, tmp_path: Path) -> None:
    for number in range(5):
        client.put_object(Bucket=bucket, Key=f"set/{number}.txt", Body=b"x" * (number + 1))
    printed = run("hand_out_a_dataset.py", f"s3://{bucket}/set/", str(tmp_path))
    assert printed == "5 links signed; 5 files, 0 failures, 15 bytes\n"
    assert (tmp_path / "data" / "4.txt").read_bytes() == b"xxxxx"


def test_read_into_memory(run: Run, client: Any, bucket: str) -> None:
    for number in range(5):
        client.put_object(Bucket=bucket, Key=f"set/{number}.txt", Body=b"x" * (number + 1))
    printed = run("read_into_memory.py", f"s3://{bucket}/set/").splitlines()
    assert min(printed) == "5 objects, 15 bytes"
    assert "set/0.txt: 2d711642b726" in printed


def test_check_proof(run: Run, client: Any, bucket: str, aws_env: AwsEnv, seaweedfs: S3Server, tmp_path: Path) -> None:
    aws_env(seaweedfs)
    client.put_object(Bucket=bucket, Key="set/a b.txt", Body=b"12345")
    client.put_object(Bucket=bucket, Key="set/c.txt", Body=b"")
    report = asyncio.run(bp.write_certificate(f"s3://{bucket}/set/", tmp_path / "c.jsonl.gz"))
    assert report.certificate is not None
    proof, copy = tmp_path / "proof.json", tmp_path / "copy"
    proof.write_bytes(msgspec.json.encode(bp.prove(tmp_path / "c.jsonl.gz", "a b.txt")))
    copy.write_bytes(b"12345")
    printed = run("check_proof.py", str(proof), report.certificate.root, str(copy))
    assert printed.startswith("a b.txt belongs to the certificate: 5 bytes, sha256 5994471abb01112a")


def test_check_proof_takes_no_shifted_one(tmp_path: Path) -> None:
    """The text of its leaf is the same."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "foo 5 paid.pdf").write_bytes(b"1234")
    certificate = asyncio.run(bp.write_certificate(tmp_path / "d", tmp_path / "c.jsonl")).certificate
    assert certificate is not None
    proof = msgspec.to_builtins(bp.prove(tmp_path / "c.jsonl", "foo 5 paid.pdf"))
    forged = proof | {"digest": f"{proof['digest']} 4 foo", "size": 5, "key": "paid.pdf"}
    (tmp_path / "proof.json").write_text(json.dumps(forged))
    command = [sys.executable, str(EXAMPLES / "check_proof.py"), str(tmp_path / "proof.json"), certificate.root]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "the size or the digest of the proof is not valid\n"


def test_web_service_signs_in_bulk(service: str, client: Any, bucket: str) -> None:
    keys = [f"in/{number} é.txt" for number in range(3000)]
    answer = requests.post(f"{service}/links", json={"keys": keys, "method": "PUT"}, timeout=30)
    assert answer.status_code == 200, answer.text
    links = answer.json()
    assert [link["key"] for link in links] == keys
    assert requests.put(links[7]["url"], b"seven", headers=links[7]["headers"], timeout=30).status_code == 200
    assert client.get_object(Bucket=bucket, Key=keys[7])["Body"].read() == b"seven"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"keys": ["x" * 1025]}, "key"),
        ({"keys": ["a"], "expires_in": 700_000}, "expires_in"),
        ({"keys": ["a"], "method": "PATCH"}, "'GET', 'PUT', 'HEAD' or 'DELETE'"),
    ],
)
def test_web_service_refuses(service: str, wanted: dict[str, Any], words: str) -> None:
    answer = requests.post(f"{service}/links", json=wanted, timeout=30)
    assert answer.status_code == 422
    assert words in json.dumps(answer.json(), ensure_ascii=False)


def test_web_service_tells_nobody_why_it_can_not_sign(tmp_path: Path) -> None:
    """The credentials end in five minutes, so each request asks for new ones."""
    program, sealed = tmp_path / "program.sh", tmp_path / "sealed"
    end = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    given = {"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": end}
    program.write_text(f"[ ! -e '{sealed}' ] || {{ echo 'vault sealed' >&2; exit 1; }}; echo '{json.dumps(given)}'")
    config = tmp_path / "config"
    config.write_text(f"[default]\nregion = eu-west-1\ncredential_process = sh {program}\n")
    with running_service({"AWS_CONFIG_FILE": str(config), "BUCKET": "bucket"}) as url:
        sealed.touch()
        answer = requests.post(f"{url}/links", json={"keys": ["a"]}, timeout=30)
    assert (answer.status_code, answer.json()) == (503, {"detail": "links can't be signed at the moment"})


def test_web_service_streams_digests(service: str, client: Any, bucket: str) -> None:
    bodies = {f"set/{number}": os.urandom(1000 + number) for number in range(40)}
    for key, body in bodies.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    keys = [*bodies, "set/missing"]
    with requests.post(f"{service}/digests", json={"keys": keys}, timeout=30, stream=True) as answer:
        lines = [json.loads(line) for line in answer.iter_lines()]
    found = {line.pop("key"): line for line in lines}
    assert found.pop("set/missing") == {"error": "NoSuchKey"}
    assert found == {
        key: {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()} for key, body in bodies.items()
    }


def test_web_service_goes_on_when_a_client_leaves(service: str, client: Any, bucket: str) -> None:
    keys = [f"set/{number}" for number in range(50)]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    with requests.post(f"{service}/digests", json={"keys": keys}, timeout=30, stream=True) as answer:
        next(answer.iter_lines())
    with requests.post(f"{service}/digests", json={"keys": keys}, timeout=30, stream=True) as answer:
        assert len(list(answer.iter_lines())) == 50


NOTEBOOK = """
import bulkpresign as bp
outcomes = bp.get_outcomes("s3://{bucket}/set/", to="{folder}")
print([outcome.status async for outcome in outcomes])
async with bp.Presigner() as presigner: links = presigner.sign_batch([bp.ObjectRef("{bucket}", "set/0")])

print([len(data) async for _, data in bp.read(links)])
report = await bp.get("s3://{bucket}/set/", to="{folder}")
print(report.skipped, "skipped")
"""


def test_everything_can_be_awaited_at_a_prompt(seaweedfs: S3Server, client: Any, bucket: str, tmp_path: Path) -> None:
    """As in a notebook: at the prompt of `python -m asyncio`, whose loop runs before and after each line.

    That of Python 3.13 takes no statements of several lines from a pipe.
    """
    client.put_object(Bucket=bucket, Key="set/0", Body=b"12345")
    done = subprocess.run(
        [sys.executable, "-m", "asyncio"],
        input=NOTEBOOK.format(bucket=bucket, folder=tmp_path / "to"),
        env=os.environ | seaweedfs.environment | {"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    printed = [line.lstrip(">. ") for line in done.stdout.splitlines()]
    assert printed[:3] == ["['done']", "[5]", "1 skipped"], done.stdout + done.stderr
