"""The S3 clients of one configuration, one per region."""

import os
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, Protocol

import anyio

from bulkpresign.aws.checks import check_addressing_style, check_ca_bundle, check_endpoint_url
from bulkpresign.aws.credentials import Credentials
from bulkpresign.aws.errors import botocore_errors
from bulkpresign.aws.presigning import keep_serialized_headers, run_without_waiting
from bulkpresign.errors import CredentialsError, ParameterError

#: Signs the sample links, which are only parsed. No request is ever made with it.
SAMPLE_CREDENTIALS = Credentials("SAMPLE", "SAMPLE")
SAMPLE_KEY = "bulkpresign-sample"
SAMPLE_EXPIRES_IN = 3600

_SAMPLE_KEYS = {
    "aws_access_key_id": SAMPLE_CREDENTIALS.access_key,
    "aws_secret_access_key": SAMPLE_CREDENTIALS.secret_key,
}


class AwsSession(Protocol):
    """An `aioboto3.Session`. aioboto3 has no types, so this names the parts that are used."""

    @property
    def region_name(self) -> str | None:
        """The region of the environment or the profile."""

    def client(self, *args: Any, **kwargs: Any) -> Any:
        """A context manager of a client."""

    def get_credentials(self) -> Any:
        """An awaitable of the chain's credentials, or of None."""


class ClientSession:
    """An aioboto3 session and its S3 clients. A client is opened at first use and stays open until `close`.

    There are two clients per region: one with the credentials of the AWS chain, one that signs samples.
    """

    def __init__(
        self,
        *,
        region_name: str | None,
        endpoint_url: str | None,
        profile_name: str | None,
        addressing_style: str,
        session: AwsSession | None,
        ca_bundle: str | None,
    ) -> None:
        check_addressing_style(addressing_style)
        if endpoint_url is not None:
            check_endpoint_url(endpoint_url)
        if profile_name is not None and session is not None:
            raise ParameterError("profile_name and session are both given: a session has its own profile")
        if session is not None:
            _check_session(session)
        self._region_name = region_name
        self._endpoint_url = endpoint_url
        self._profile_name = profile_name
        self._ca_bundle = ca_bundle
        self._addressing_style = addressing_style
        self._given = session
        self._session: Any = session
        self._stack = AsyncExitStack()
        self._lock = anyio.Lock()
        # By region; None is the region that was given, or the environment's.
        self._clients: dict[str | None, Any] = {}
        self._samplers: dict[str | None, Any] = {}

    async def open(self) -> None:
        """Reads configuration files, and sends no request. Raises ParameterError and CredentialsError."""
        if self._ca_bundle is not None:
            check_ca_bundle(self._ca_bundle)
        with botocore_errors():
            self._session = self._given or _new_session(self._profile_name)
            self._samplers[None] = await self._new_client(None, **_SAMPLE_KEYS)

    async def close(self) -> None:
        """Closes all clients."""
        self._clients.clear()
        self._samplers.clear()
        await self._stack.aclose()

    @property
    def session(self) -> Any:
        """The aioboto3 session. Raises CredentialsError outside of `async with`."""
        self._check_open()
        return self._session

    async def client(self, region: str | None = None) -> Any:
        """The client of a region with the credentials of the AWS chain."""
        async with self._lock:
            if region not in self._clients:
                with botocore_errors():
                    self._clients[region] = await self._new_client(region)
        return self._clients[region]

    def sampler(self, region: str | None) -> Any:
        """The client of a region that signs with `SAMPLE_CREDENTIALS`. It is opened without waiting."""
        if region not in self._samplers:
            self._check_open()
            with botocore_errors():
                self._samplers[region] = run_without_waiting(self._new_client(region, **_SAMPLE_KEYS))
        return self._samplers[region]

    async def _new_client(self, region: str | None, **credentials: str) -> Any:
        from botocore.config import Config

        # By default botocore still makes SigV2 links in us-east-1, which newer regions refuse.
        style: Any = None if self._addressing_style == "auto" else {"addressing_style": self._addressing_style}
        client = await self._stack.enter_async_context(
            self._session.client(
                "s3",
                region_name=region or self._region_name or self._environment_region(),
                endpoint_url=self._endpoint_url,
                config=Config(signature_version="s3v4", s3=style),
                verify=self._ca_bundle,
                **credentials,
            )
        )
        client.meta.events.register_last("before-parameter-build.s3", keep_serialized_headers)
        return client

    def _check_open(self) -> None:
        if not self._samplers:
            raise CredentialsError("a Presigner is used inside `async with`")

    def _environment_region(self) -> str | None:
        # The other AWS SDKs and the command line read AWS_REGION; boto3 reads only AWS_DEFAULT_REGION.
        return self._session.region_name or os.environ.get("AWS_REGION") or None


def _check_session(session: object) -> None:
    """Raises TypeError for a session of boto3, botocore or aiobotocore, for a class, and for what is no session."""
    import aioboto3
    import boto3

    is_other = isinstance(session, boto3.Session | type) and not isinstance(session, aioboto3.Session)
    if is_other or not all(hasattr(session, name) for name in ("client", "get_credentials", "region_name")):
        kind = "a class" if isinstance(session, type) else f"{type(session).__module__}.{type(session).__name__}"
        raise TypeError(f"session is an aioboto3.Session, not {kind.removeprefix('builtins.')}")


def _new_session(profile_name: str | None) -> Any:
    import aioboto3
    from aiobotocore.session import AioSession
    from botocore.configprovider import ScopedConfigProvider

    core = AioSession(profile=profile_name)
    if core.get_config_variable("region") == "":  # AWS_DEFAULT_REGION, with which botocore can't sign
        provider = ScopedConfigProvider("region", core)
        core.get_component("config_store").set_config_provider("region", provider)
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return aioboto3.Session(botocore_session=core)


@cache
def _loader(data_path: str | None) -> Any:
    """Botocore's descriptions of services. Sessions share them, as reading them takes 50 ms."""
    from botocore.loaders import create_loader

    return create_loader(data_path)
