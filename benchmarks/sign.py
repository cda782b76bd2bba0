"""Links a second on one core, GET, keys of 60 bytes, by CPU time."""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from typing import Any

from benchmarks.measuring import cpu_seconds, goal, show
from bulkpresign import LinkOptions, Method, ObjectRef, Presigner

ACCESS, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
BUCKET, REGION = "examplebucket", "eu-west-1"
ROUNDS = 5
BATCH = 1024


def make_keys(count: int) -> list[str]:
    return [f"data/2026/{n:08d}/a-name-that-is-as-long-as-names-are-{n % 97:04d}.parquet"[:60] for n in range(count)]


def main(*, quick: bool) -> None:
    asyncio.run(_main(20_000 if quick else 200_000))


async def _main(count: int) -> None:
    keys = make_keys(count)
    slow_keys = keys[: count // 50]
    async with Presigner(region_name=REGION, session=_session()) as presigner:
        contenders = _ours(presigner, keys) | _peers(slow_keys, keys)
        best: dict[str, float] = {}
        for _ in range(ROUNDS):
            for name, (number, work) in contenders.items():
                best[name] = max(best.get(name, 0.0), number / cpu_seconds(work))
            best["sign (async)"] = max(best.get("sign (async)", 0.0), count / await _async_seconds(presigner, keys))
    show(
        f"Links per second of CPU ({count:,} keys of {len(keys[0])} bytes)",
        "links/s",
        best,
        "boto3",
        more_is_better=True,
    )
    print()
    for name in ("--filename '{name}'", "a checksum each", "six columns each"):
        goal(f"links/s with {name}", best[name], least=100_000)
    goal("url_batch against boto3", best["url_batch"] / best["boto3"], least=100)
    goal("sign_batch against boto3", best["sign_batch"] / best["boto3"], least=100)
    goal("sign (async) against boto3", best["sign (async)"] / best["boto3"], least=80)
    if "fast-s3-url" in best:
        goal("url_batch against fast-s3-url", best["url_batch"] / best["fast-s3-url"], least=2)


def _session() -> Any:
    return import_module("aioboto3").Session(ACCESS, SECRET, region_name=REGION)


def _ours(presigner: Presigner, keys: list[str]) -> dict[str, tuple[int, Callable[[], object]]]:
    objects = [ObjectRef(BUCKET, key) for key in keys]
    starts = range(0, len(keys), BATCH)
    return {
        "url_batch": (
            len(keys),
            lambda: [presigner.url_batch(BUCKET, keys[at : at + BATCH]) for at in starts],
        ),
        "sign_batch": (len(keys), lambda: [presigner.sign_batch(objects[at : at + BATCH]) for at in starts]),
        **_carrying(presigner, keys[: len(keys) // 4]),
    }


def _carrying(presigner: Presigner, keys: list[str]) -> dict[str, tuple[int, Callable[[], object]]]:
    """Links of which each carries something of its own."""
    names = LinkOptions(filename="{name}")
    plain = [ObjectRef(BUCKET, key) for key in keys]
    summed = [ObjectRef(BUCKET, key, checksum=f"sha256:{_sha256(key)}") for key in keys]
    columns = ("cache_control", "content_disposition", "storage_class", "tagging", "acl", "content_encoding")
    rows = [ObjectRef(BUCKET, key, extra=dict.fromkeys(columns, f"k=v{n % 97}")) for n, key in enumerate(keys)]

    def batches(objects: list[ObjectRef], method: Method, options: LinkOptions | None = None) -> object:
        starts = range(0, len(objects), BATCH)
        return [presigner.sign_batch(objects[at : at + BATCH], method, options=options) for at in starts]

    return {
        "--filename '{name}'": (len(keys), lambda: batches(plain, "GET", names)),
        "a checksum each": (len(keys), lambda: batches(summed, "PUT")),
        "six columns each": (len(keys), lambda: batches(rows, "PUT")),
    }


def _sha256(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


async def _async_seconds(presigner: Presigner, keys: list[str]) -> float:
    import time

    objects = [ObjectRef(BUCKET, key) for key in keys]
    began = time.process_time()
    async for _ in presigner.sign(objects):
        pass
    return time.process_time() - began


def _peers(slow_keys: list[str], keys: list[str]) -> dict[str, tuple[int, Callable[[], object]]]:
    client = import_module("boto3").client(
        "s3",
        region_name=REGION,
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        config=import_module("botocore.config").Config(signature_version="s3v4"),
    )

    def boto3_loop() -> object:
        return [client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": key}) for key in slow_keys]

    peers: dict[str, tuple[int, Callable[[], object]]] = {"boto3": (len(slow_keys), boto3_loop)}
    try:
        signer = import_module("fast_s3_url").FastS3UrlSigner.from_boto3_client(client, BUCKET)
        peers["fast-s3-url"] = (
            len(keys),
            lambda: signer.generate_presigned_get_object_urls(object_keys=keys),
        )
    except ImportError:
        print("fast-s3-url is not installed: left out")
    return peers
