"""botocore as the oracle: its links with `signature_version="s3v4"`, and the arguments for them."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aioboto3
import boto3
from anyio.from_thread import BlockingPortal
from botocore.config import Config
from botocore.loaders import create_loader
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from bulkpresign.model import MAX_KEY_BYTES, Link, Method, ObjectRef, Post
from bulkpresign.signing.presigner import Presigner

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjE+token/with=marks+and//slashes=="
START = datetime(2026, 2, 28, 23, 59, 58, 987654, tzinfo=UTC)

# Reads botocore's descriptions of S3 once for all tests, which halves their time.
_LOADER = create_loader()

#: Fixtures are the same for every example: a clock that stands still, clients that hold no state.
examples = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])

OPERATIONS: dict[Method, str] = {
    "GET": "get_object",
    "PUT": "put_object",
    "HEAD": "head_object",
    "DELETE": "delete_object",
}
QUERY_PARAMETERS = {
    "response-content-type": "ResponseContentType",
    "response-content-disposition": "ResponseContentDisposition",
    "response-content-language": "ResponseContentLanguage",
    "response-content-encoding": "ResponseContentEncoding",
    "response-cache-control": "ResponseCacheControl",
}
HEADER_PARAMETERS = {
    "Content-Type": "ContentType",
    "Cache-Control": "CacheControl",
    "Content-Disposition": "ContentDisposition",
    "Content-Encoding": "ContentEncoding",
    "Content-Language": "ContentLanguage",
    "Content-MD5": "ContentMD5",
    "x-amz-checksum-crc32c": "ChecksumCRC32C",
    "x-amz-checksum-sha256": "ChecksumSHA256",
    "x-amz-storage-class": "StorageClass",
    "x-amz-tagging": "Tagging",
    "x-amz-server-side-encryption": "ServerSideEncryption",
}

AWKWARD_KEYS = [
    "plain.txt",
    "a//b",
    "/a",
    "//",
    "./a",
    "a/../b",
    "..",
    "folder/",
    "with space and+plus",
    "?#%+&=~*'\"",
    "%2F%20%zz",
    "a=b&c=d;e,f:g@h!$()[]{}|\\^`<>",
    "line\nbreak\ttab\x7f\x01",
    "é",
    "e\u0301",
    "데이터/사진 1.jpg",
    "🎉/👩\u200d🚀",
    "\u202egnp.exe",
    "\ufeff\uffff\U0010ffff",
    "bulkpresign-sample",
    "x" * MAX_KEY_BYTES,
    "é" * (MAX_KEY_BYTES // 2),
]

_characters = st.one_of(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    st.sampled_from("/.?#%+&=~*'\" \\:@$-_;,()é한🎉\u0301"),
)
keys = st.text(_characters, min_size=1, max_size=60).filter(lambda key: len(key.encode()) <= MAX_KEY_BYTES)
#: Lists in which most keys need no quoting, as in life, and others in which all do.
key_lists = st.lists(keys | st.from_regex(r"[a-z0-9/_.~-]{1,30}", fullmatch=True), min_size=1, max_size=8)
methods = st.sampled_from(sorted(OPERATIONS))
seconds = st.integers(1, 604_800)
version_ids = st.none() | st.text(_characters, min_size=1, max_size=20)
_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30)
overrides = st.dictionaries(st.sampled_from(sorted(QUERY_PARAMETERS)), st.text(_characters, min_size=1, max_size=20))
_md5s = st.binary(min_size=16, max_size=16).map(lambda digest: b64encode(digest).decode())
_names = st.sampled_from(sorted(HEADER_PARAMETERS)) | st.from_regex(r"x-amz-meta-[a-z][a-z0-9-]{0,10}", fullmatch=True)
_headers = st.tuples(_names, _texts, _md5s)
headers = st.lists(_headers, max_size=5).map(
    lambda drawn: {name: md5 if name == "Content-MD5" else text for name, text, md5 in drawn}
)


def parameters(
    bucket: str,
    key: str,
    version_id: str | None = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The arguments of botocore for the same link."""
    params: dict[str, Any] = {"Bucket": bucket, "Key": key}
    if version_id is not None:
        params["VersionId"] = version_id
    params.update((QUERY_PARAMETERS[name], value) for name, value in (query or {}).items())
    for name, value in (headers or {}).items():
        if name.startswith("x-amz-meta-"):
            params.setdefault("Metadata", {})[name.removeprefix("x-amz-meta-")] = value
        else:
            params[HEADER_PARAMETERS[name]] = value
    return params


@dataclass
class Both:
    """A Presigner and a client of boto3 with the same credentials and configuration."""

    presigner: Presigner
    client: Any
    portal: BlockingPortal

    def expected(self, method: Method, params: Mapping[str, Any], expires_in: int = 3600) -> str:
        url: str = self.client.generate_presigned_url(OPERATIONS[method], dict(params), expires_in)
        return url

    def presign(self, *arguments: Any, **options: Any) -> Link:
        return self.portal.call(lambda: self.presigner.presign(*arguments, **options))

    def presign_post(self, *arguments: Any, **options: Any) -> Post:
        return self.portal.call(lambda: self.presigner.presign_post(*arguments, **options))

    def sign(self, objects: Any, *arguments: Any, **options: Any) -> list[Link]:
        async def gather() -> list[Link]:
            return [link async for links in self.presigner.sign(objects, *arguments, **options) for link in links]

        return self.portal.call(gather)

    def all_ways(self, method: Method, bucket: str, key: str) -> list[str]:
        """The same link by each of the four ways."""
        ref = ObjectRef(bucket, key)
        return [
            *self.presigner.url_batch(bucket, [key], method),
            self.presigner.sign_batch([ref], method)[0].url,
            self.sign([ref], method)[0].url,
            self.presign(OPERATIONS[method], {"Bucket": bucket, "Key": key}).url,
        ]


@contextmanager
def both(
    portal: BlockingPortal,
    region_name: str | None = "eu-central-1",
    endpoint_url: str | None = None,
    addressing_style: str = "auto",
    token: str | None = None,
) -> Iterator[Both]:
    """Opens both. With `token`, a session token signs as well."""
    keys = (ACCESS_KEY, SECRET_KEY, token)
    sessions = aioboto3.Session(*keys), boto3.Session(*keys)
    for session in sessions:
        session._session.register_component("data_loader", _LOADER)
    presigner = Presigner(
        region_name=region_name,
        endpoint_url=endpoint_url,
        addressing_style=addressing_style,
        session=sessions[0],
    )
    style: Any = {"addressing_style": addressing_style} if addressing_style != "auto" else None
    client = sessions[1].client(
        "s3",
        region_name=region_name,
        endpoint_url=endpoint_url,
        config=Config(signature_version="s3v4", s3=style),
    )
    with portal.wrap_async_context_manager(presigner) as opened:
        try:
            yield Both(opened, client, portal)
        finally:
            client.close()
