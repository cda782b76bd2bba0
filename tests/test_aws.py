"""The AWS chain: variables, files, programs, metadata services, and their errors."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aioboto3
import anyio
import pytest
from botocore.loaders import JSONFileLoader

from bulkpresign.aws import Aws, Credentials
from bulkpresign.aws.sessions import ClientSession
from bulkpresign.errors import CredentialsError, ParameterError, SigningError
from bulkpresign.model import ObjectRef
from bulkpresign.signing.presigner import Presigner

END = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)
TEMPORARY = {"AccessKeyId": "ASIA", "SecretAccessKey": "secret", "Token": "token", "Expiration": END.isoformat()}


def credentials(**options: Any) -> Credentials:
    async def fetch() -> Credentials:
        async with Aws(**options) as aws:
            return await aws.credentials()

    return anyio.run(fetch)


def url(**options: Any) -> str:
    async def sign() -> str:
        async with Presigner(**options) as presigner:
            return presigner.url_batch("bucket", ["key"])[0]

    return anyio.run(sign)


def scope_of(url: str) -> list[str]:
    return parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")


@pytest.fixture
def own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "config"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    return path


# -- where credentials come from


def test_variables(own_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials() == Credentials("AKID", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert credentials() == Credentials("AKID", "secret", "token")


def test_a_second_presigner_reads_no_description_again(own_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = url(region_name="eu-north-1")
    read: list[str] = []
    load = JSONFileLoader.load_file

    def load_file(self: Any, path: str) -> Any:
        read.append(path)
        return load(self, path)

    monkeypatch.setattr(JSONFileLoader, "load_file", load_file)
    assert url(region_name="eu-north-1").partition("?")[0] == expected.partition("?")[0]
    assert read == []


def test_variables_that_expire(own_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2099-01-02T04:04:05+01:00")
    found = credentials()
    assert found.expires_at == END
    assert found.expires_at.tzinfo is UTC


def test_variables_that_have_expired(own_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2020-01-02T03:04:05Z")
    with pytest.raises(CredentialsError, match="expired"):
        credentials()


def test_profiles(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(
        "[default]\naws_access_key_id=ONE\naws_secret_access_key=1\nregion=eu-north-1\n"
        "[profile other]\naws_access_key_id=TWO\naws_secret_access_key=2\nregion=sa-east-1\n"
    )
    assert scope_of(url())[::2] == ["ONE", "eu-north-1", "aws4_request"]
    assert scope_of(url(profile_name="other"))[::2] == ["TWO", "sa-east-1", "aws4_request"]
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert scope_of(url())[0] == "TWO"


def test_a_program(config: Path, tmp_path: Path) -> None:
    response = tmp_path / "answer.json"
    response.write_text(json.dumps({"Version": 1, "SessionToken": "token", **TEMPORARY}))
    code = f"print(open({str(response)!r}).read())"
    config.write_text(f'[default]\ncredential_process = {sys.executable} -c "{code}"\n')
    assert credentials() == Credentials("ASIA", "secret", "token", END)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/no/such/program", "no/such/program"),
        ('{python} -c "print(1,"', "custom-process"),
        ('{python} -c "print(5)"', "can't be fetched"),
        ("{python} -c \"print('no json')\"", "Expecting value"),
    ],
)
def test_a_program_that_fails(config: Path, command: str, why: str) -> None:
    config.write_text(f"[default]\ncredential_process = {command.format(python=sys.executable)}\n")
    with pytest.raises(CredentialsError, match=why):
        credentials()


def test_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    with _answering({"/creds": json.dumps(TEMPORARY)}) as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/creds")
        assert credentials() == Credentials("ASIA", "secret", "token", END)


def test_a_container_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with _answering({}) as address:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/creds")
        with pytest.raises(CredentialsError):
            credentials()


def test_a_machine_in_ec2(monkeypatch: pytest.MonkeyPatch) -> None:
    roles = "/latest/meta-data/iam/security-credentials/"
    responses = {
        "/latest/api/token": "imds-token",
        roles: "role",
        f"{roles}role": json.dumps({"Code": "Success", **TEMPORARY}),
    }
    with _answering(responses) as address:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
        assert credentials() == Credentials("ASIA", "secret", "token", END)


def test_an_assumed_role(config: Path, own_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        "<AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>"
        f"<Expiration>{END:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    config.write_text(
        "[profile assumed]\nrole_arn=arn:aws:iam::123456789012:role/r\n"
        "credential_source=Environment\nregion=eu-west-1\n"
    )
    with _answering({"/": body}) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", address)
        assert credentials(profile_name="assumed") == Credentials("ASIA", "secret", "token", END)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(CredentialsError, match=r"127\.0\.0\.1:9"):
        credentials(profile_name="assumed")


def test_single_sign_on_that_has_not_signed_on(config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config.write_text(
        "[profile sso]\nsso_start_url=https://example.awsapps.com/start\nsso_region=us-east-1\n"
        "sso_account_id=123456789012\nsso_role_name=reader\n"
    )
    with pytest.raises(CredentialsError, match="SSO"):
        credentials(profile_name="sso")


@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("", {}, "no credentials"),
        ("", {"profile_name": "nobody"}, "nobody"),
        ("[profile half]\naws_access_key_id=ONE\n", {"profile_name": "half"}, "aws_secret_access_key"),
        ("not a config file", {}, "parse"),
        ("[profile a]\nrole_arn=arn:aws:iam::1:role/r\n", {"profile_name": "a"}, "source_profile|credential_source"),
        (
            "[profile a]\nrole_arn=arn:aws:iam::1:role/r\nsource_profile=b\n[profile b]\nrole_arn=r\nsource_profile=a",
            {"profile_name": "a"},
            "[Ii]nfinite",
        ),
    ],
)
def test_credentials_that_are_not_there(config: Path, text: str, options: dict[str, str], why: str) -> None:
    config.write_text(text)
    with pytest.raises(CredentialsError, match=why):
        url(**options)


def test_an_own_session(own_keys: None) -> None:
    session = aioboto3.Session("OWN", "secret", region_name="ca-central-1")
    assert scope_of(url(session=session))[:3:2] == ["OWN", "ca-central-1"]
    with pytest.raises(ParameterError, match="session"):
        Presigner(session=session, profile_name="other")


# -- where the region comes from


def test_regions(own_keys: None, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def region(**options: Any) -> str:
        return scope_of(url(**options))[2]

    assert region() == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert region() == "eu-west-1"
    config.write_text("[default]\nregion=eu-west-2\n")
    assert region() == "eu-west-2"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    assert region() == "eu-west-3"
    assert region(region_name="ap-south-1") == "ap-south-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "")  # an empty variable names no region
    assert region() == "eu-west-2"
    config.write_text("")
    assert region() == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "")
    assert region() == "us-east-1"


def test_a_region_that_is_not_valid(own_keys: None) -> None:
    with pytest.raises(SigningError, match="region"):
        url(region_name="not a region")


# -- options


@pytest.mark.parametrize(
    "endpoint_url",
    ["", "localhost:9000", "ftp://host", "http://", "http://:80", "http://host:port", "http://[::1", "s3://bucket"],
)
def test_endpoints_that_are_not_valid(endpoint_url: str) -> None:
    with pytest.raises(ParameterError, match="endpoint_url"):
        Presigner(endpoint_url=endpoint_url)


def test_an_addressing_style_that_is_not_valid() -> None:
    with pytest.raises(ParameterError, match="auto, path, virtual"):
        Presigner(addressing_style="upside-down")


# -- presigning


def test_many_at_once_keep_their_headers_apart(own_keys: None) -> None:
    """Each link has the headers of its own parameters, though every step waits for the others."""
    links = {}

    async def all_at_once() -> None:
        async with Presigner("eu-central-1") as presigner:
            client = await presigner.aws._session.client()
            client.meta.events.register_last("before-parameter-build.s3", _wait)
            client.meta.events.register_first("choose-signer.s3", _wait)
            async with anyio.create_task_group() as group:
                for number in range(50):
                    group.start_soon(one, presigner, number)

    async def one(presigner: Presigner, number: int) -> None:
        params: dict[str, Any] = {"Bucket": "bucket", "Key": f"{number}", "Metadata": {f"m{number}": f"value {number}"}}
        if number % 2:
            links[number] = await presigner.presign("put_object", params)
        else:
            links[number] = await presigner.presign("copy_object", {**params, "CopySource": f"from/{number}"})

    anyio.run(all_at_once)
    for number, link in links.items():
        assert link.headers[f"x-amz-meta-m{number}"] == f"value {number}"
        assert len(link.headers) == (1 if number % 2 else 2)


async def _wait(**_: object) -> None:
    await anyio.sleep(0.001)


def test_one_client_is_opened_for_all(own_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    new_client = ClientSession._new_client

    async def counted(self: ClientSession, region: str | None, **options: str) -> Any:
        opened.append(options)
        await anyio.sleep(0.01)
        return await new_client(self, region, **options)

    monkeypatch.setattr(ClientSession, "_new_client", counted)

    async def all_at_once() -> None:
        async with Presigner("eu-central-1") as presigner, anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(presigner.presign, "list_buckets")

    anyio.run(all_at_once)
    assert len(opened) == 2  # the sampler and the client


def test_batches_need_no_network(own_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert url(region_name="eu-west-1").startswith("https://bucket.s3.amazonaws.com/key?")


@contextmanager
def _answering(responses: dict[str, str]) -> Iterator[str]:
    """A server that gives these answers by path, whatever the method, and 404 for the rest."""

    class Handler(BaseHTTPRequestHandler):
        def response(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = responses.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = response  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_expired_credentials_are_refused_before_a_request(own_keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=20)
    monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", end.isoformat())

    async def sign() -> datetime | None:
        async with Presigner("eu-west-1") as presigner:
            return presigner.sign_batch([ObjectRef("bucket", "key")])[0].expires_at

    assert anyio.run(sign) == end
