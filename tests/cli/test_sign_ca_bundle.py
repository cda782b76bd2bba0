"""`sign` and `post` use the certificates of `--ca-bundle` for all requests."""

import csv
import ssl
from pathlib import Path

import pytest

from tests.conftest import Boto, MakeBucket
from tests.servers.proxy import FaultProxy
from tests.servers.server import S3Server
from tests.support.cli import CREDENTIALS, run
from tests.support.folders import names_in


def test_certificates_to_trust(
    certificate: tuple[Path, ssl.SSLContext], seaweedfs: S3Server, make_bucket: MakeBucket, boto: Boto, tmp_path: Path
) -> None:
    bundle, context = certificate
    bucket = make_bucket(seaweedfs)
    boto(seaweedfs).put_object(Bucket=bucket, Key="k", Body=b"x")
    (tmp_path / "sizes.csv").write_text(f"bucket,key,size\n{bucket},big,{6 << 20}\n")
    commands = [
        ["sign", f"s3://{bucket}/", "--head", "-o", "l.csv"],
        ["sign", "sizes.csv", "--method", "PUT", "--part-size", "5MiB", "-o", "u.csv"],
        ["post", f"s3://{bucket}/*", "-o", "f.csv"],
    ]
    with FaultProxy(seaweedfs.endpoint_url, tls=context) as proxy:
        env = {**seaweedfs.environment, "AWS_ENDPOINT_URL": proxy.url}
        for command in commands:
            done = run(*command, "--ca-bundle", str(bundle), folder=tmp_path, env=env)
            assert done.returncode == 0, done.stderr
    for file in ("l.csv", "u.csv", "f.csv"):
        with (tmp_path / file).open(newline="") as stream:
            assert next(csv.DictReader(stream))["url"].startswith(proxy.url)


@pytest.mark.parametrize("verb", ["sign", "post"])
@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.parametrize("source", ["keys.txt", "s3://b-1/"])
def test_a_bundle_that_is_not_valid(tmp_path: Path, verb: str, content: str | None, source: str) -> None:
    (tmp_path / "keys.txt").write_text("k\n")
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    before = names_in(tmp_path)
    options = ["--bucket", "b-1"] if source == "keys.txt" else []
    env = {**CREDENTIALS, "AWS_ENDPOINT_URL": "https://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    done = run(verb, source, *options, "-o", "out.csv", "--ca-bundle", "ca.pem", folder=tmp_path, env=env)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ca.pem is not a file of certificates: ") and done.stderr.count("\n") == 1
    assert names_in(tmp_path) == before
