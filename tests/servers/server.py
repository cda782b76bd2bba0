"""What every kind of server has in common: how it is reached, and how it is started, awaited and ended."""

import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bulkpresign.demo.daemon import HOST
from bulkpresign.errors import DaemonEndedError

STARTS = 3
CONFIG = Config(
    signature_version="s3v4",
    s3={"addressing_style": "path"},
    retries={"total_max_attempts": 1},
    connect_timeout=5,
    read_timeout=30,
)


class MissingServerError(Exception):
    """A program of this kind of server isn't installed. The message says which."""


@dataclass(frozen=True)
class S3Server:
    """A running server and the credentials of its one user, who may do everything."""

    name: str
    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region_name: str = "us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which any AWS tool finds this server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region_name,
            "AWS_ENDPOINT_URL": self.endpoint_url,
        }


def new_server(name: str, port: int) -> S3Server:
    """A server on this port of 127.0.0.1, with keys that no other server knows."""
    return S3Server(name, f"http://{HOST}:{port}", f"TEST{secrets.token_hex(8).upper()}", secrets.token_hex(20))


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """What a daemon sees of our environment: nothing but where programs are. Its home is its folder."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), **variables}


def new_client(server: S3Server, config: Config = CONFIG) -> Any:
    """A boto3 client: path style, SigV4, no retries. Whoever asks for it closes it."""
    client = _session().client(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name=server.region_name,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=config,
    )
    client.meta.events.register("before-send.s3", _drop_expect)
    return client


@cache
def _session() -> boto3.Session:
    """One for all clients, as botocore reads its descriptions of services for each session."""
    return boto3.Session()


def lets_us_in(server: S3Server) -> bool:
    """True when it knows its own user, as no other server does that was quicker to take the port."""
    with closing(new_client(server)) as client, suppress(BotoCoreError, ClientError):
        client.list_buckets()
        return True
    return False


def start_in(stack: ExitStack, start: Callable[[ExitStack], S3Server]) -> S3Server:
    """Start a server that ends with `stack`; again, on other ports, where another program took one first."""
    for _ in range(STARTS - 1):
        with suppress(DaemonEndedError):
            return _start_once(stack, start)
    return _start_once(stack, start)


def _start_once(stack: ExitStack, start: Callable[[ExitStack], S3Server]) -> S3Server:
    with ExitStack() as attempt:
        server = start(attempt)
        stack.enter_context(attempt.pop_all())
        return server


def _drop_expect(request: Any, **_: object) -> None:
    """After an empty body with `Expect: 100-continue`, SeaweedFS stalls the connection for 60 s."""
    request.headers.pop("Expect", None)
