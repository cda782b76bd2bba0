"""Credentials that expire in minutes: batches refuse expired ones, the async methods renew them."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aioboto3
import anyio
import boto3
import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from anyio.from_thread import BlockingPortal
from botocore.config import Config

from bulkpresign.errors import CredentialsError
from bulkpresign.model import Link, ObjectRef
from bulkpresign.signing.presigner import Presigner
from tests.signing.conftest import Clock

REFS = [ObjectRef("bucket", f"key-{number} ü") for number in range(40)]


class Issuer:
    """Hands out keys that last for `lifetime` seconds; each has a secret of its own."""

    def __init__(self, clock: Clock, lifetime: int) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.numbers = count(1)
        self.issued = 0
        self.broken: Exception | None = None

    def credentials(self) -> AioRefreshableCredentials:
        first = self.new()
        return AioRefreshableCredentials(
            first["access_key"],
            first["secret_key"],
            first["token"],
            self.clock.now + timedelta(seconds=self.lifetime),
            refresh_using=self.refresh,
            method="test",
            time_fetcher=self.clock,
        )

    def new(self) -> dict[str, str]:
        self.issued = next(self.numbers)
        end = self.clock.now + timedelta(seconds=self.lifetime)
        return {
            "access_key": f"ASIAKEY{self.issued}",
            "secret_key": f"secret-{self.issued}",
            "token": f"token-{self.issued}",
            "expiry_time": end.isoformat(),
        }

    async def refresh(self) -> dict[str, str]:
        await anyio.sleep(0)
        if self.broken is not None:
            raise self.broken
        return self.new()


def opened(issuer: Issuer) -> Presigner:
    session = aioboto3.Session()
    session._session._credentials = issuer.credentials()
    return Presigner("eu-central-1", session=session)


@pytest.fixture
def issuer(clock: Clock) -> Issuer:
    return Issuer(clock, 3600)


@pytest.fixture
def presigner(issuer: Issuer, portal: BlockingPortal) -> Iterator[Presigner]:
    with portal.wrap_async_context_manager(opened(issuer)) as presigner:
        yield presigner


def number_of(link: Link) -> int:
    return int(parse_qs(urlsplit(link.url).query)["X-Amz-Credential"][0].split("/")[0].removeprefix("ASIAKEY"))


def expected(number: int, ref: ObjectRef, expires_in: int) -> str:
    params = {"Bucket": ref.bucket, "Key": ref.key}
    url: str = client_of(number).generate_presigned_url("get_object", params, expires_in)
    return url


@cache
def client_of(number: int) -> Any:
    session = boto3.Session(f"ASIAKEY{number}", f"secret-{number}", f"token-{number}")
    return session.client("s3", region_name="eu-central-1", config=Config(signature_version="s3v4"))


def test_links_expire_with_their_credentials(presigner: Presigner, portal: BlockingPortal, clock: Clock) -> None:
    end = clock.now + timedelta(seconds=3600)
    (link,) = presigner.sign_batch(REFS[:1], expires_in=7200)
    (post,) = presigner.post_batch(REFS[:1], expires_in=7200)
    one = portal.call(lambda: presigner.presign("list_buckets", expires_in=7200))
    form = portal.call(lambda: presigner.presign_post("bucket", "key", expires_in=7200))
    assert {link.expires_at, post.expires_at, one.expires_at, form.expires_at} == {end}
    (short,) = presigner.sign_batch(REFS[:1], expires_in=60)
    assert short.expires_at == clock.now.replace(microsecond=0) + timedelta(seconds=60)


def test_batches_refuse_expired_credentials(presigner: Presigner, portal: BlockingPortal, clock: Clock) -> None:
    clock.forward(3599)
    presigner.url_batch("bucket", ["key"])
    clock.forward(2)
    for attempt in (
        lambda: presigner.url_batch("bucket", ["key"]),
        lambda: presigner.sign_batch(REFS),
        lambda: presigner.post_batch(REFS),
    ):
        with pytest.raises(CredentialsError, match=r"expired at 2026-03-01 00:59:58 UTC: await presigner\.refresh"):
            attempt()
    portal.call(presigner.refresh)
    assert [number_of(link) for link in presigner.sign_batch(REFS[:2])] == [2, 2]


def test_presign_renews(presigner: Presigner, portal: BlockingPortal, clock: Clock) -> None:
    clock.forward(3601)
    link = portal.call(lambda: presigner.presign("get_object", {"Bucket": "bucket", "Key": "key"}, 7200))
    assert number_of(link) == 2
    assert link.expires_at == clock.now + timedelta(seconds=3600)
    assert link.url == expected(2, ObjectRef("bucket", "key"), 7200)
    clock.forward(3601)
    form = portal.call(lambda: presigner.presign_post("bucket", "key"))
    assert form.fields["x-amz-security-token"] == "token-3"


def test_a_long_run_changes_keys_and_every_link_is_valid(
    presigner: Presigner, issuer: Issuer, portal: BlockingPortal, clock: Clock
) -> None:
    async def slowly() -> AsyncIterator[ObjectRef]:
        for ref in REFS:
            clock.forward(500)
            yield ref

    async def gather() -> list[tuple[Any, Link]]:
        return [(clock.now, link) async for links in presigner.sign(slowly(), batch_size=2) for link in links]

    signed = portal.call(gather)
    assert [link.object for _, link in signed] == REFS
    numbers = [number_of(link) for _, link in signed]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 4
    for now, link in signed:
        clock.now = now
        assert link.expires_at is not None
        assert not link.expires_by(now)
        assert link.url == expected(number_of(link), link.object, 3600)


def test_a_refresh_that_fails(presigner: Presigner, issuer: Issuer, portal: BlockingPortal, clock: Clock) -> None:
    for error in (OSError("no route"), RuntimeError("odd"), KeyError("SecretAccessKey"), ValueError("not JSON")):
        clock.forward(3601)
        issuer.broken = error
        with pytest.raises(CredentialsError):
            portal.call(presigner.refresh)
        with pytest.raises(CredentialsError):
            portal.call(lambda: presigner.presign("list_buckets"))


def test_a_refresh_that_returns_expired_credentials(
    presigner: Presigner, issuer: Issuer, portal: BlockingPortal, clock: Clock
) -> None:
    clock.forward(3601)
    issuer.lifetime = -1
    with pytest.raises(CredentialsError, match="still expired"):
        portal.call(presigner.refresh)


def test_an_early_refresh_may_fail(presigner: Presigner, issuer: Issuer, portal: BlockingPortal, clock: Clock) -> None:
    """In the last quarter of an hour botocore tries to renew, and goes on with what it has."""
    clock.forward(3600 - 14 * 60)
    issuer.broken = OSError("no route")
    portal.call(presigner.refresh)
    assert number_of(presigner.sign_batch(REFS)[0]) == 1


def test_many_at_once_refresh_once(presigner: Presigner, issuer: Issuer, portal: BlockingPortal, clock: Clock) -> None:
    clock.forward(3601)

    async def all_at_once() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(presigner.presign, "list_buckets")

    portal.call(all_at_once)
    assert issuer.issued == 2
