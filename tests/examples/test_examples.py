"""Every example runs as its own docstring says, against a real server."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import Boto, MakeBucket
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
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


def test_every_example_has_a_test() -> None:
    text = Path(__file__).read_text()
    assert [example.name for example in EXAMPLES.glob("*.py") if f'"{example.name}"' not in text] == []


def test_download_with_requests(run: Run, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="a b+c/é.txt", Body=b"hello")
    assert "a b+c/é.txt: 5 bytes" in run("download_with_requests.py", bucket, "a b+c/é.txt")


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
