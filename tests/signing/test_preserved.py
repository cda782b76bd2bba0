"""A link that is signed again: its settings are preserved, and its signature is not."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.model import Link, Method, ObjectRef
from bulkpresign.signing.options import LinkOptions
from bulkpresign.signing.preserved import operation_query, preserved_settings, without_response_overrides
from tests.signing.conftest import Clock
from tests.signing.oracle import Both

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
NAMED = "response-content-disposition"


def query_of(link: Link) -> dict[str, str]:
    """The parameters of a url that are not the signature's."""
    return {name: value for name, value in parse_qsl(urlsplit(link.url).query) if not name.startswith("X-Amz-")}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h/k", {}),
        ("https://h/k?", {}),
        ("https://h/k?X-Amz-Algorithm=a&X-Amz-Credential=c&X-Amz-Signature=s&X-Amz-Security-Token=t", {}),
        ("https://h/k?AWSAccessKeyId=a&Signature=s&Expires=1#response-x=1", {}),
        (
            "https://h/k?x-amz-signature=s&x-amz-date=d&x-amz-request-payer=requester",
            {"x-amz-request-payer": "requester"},
        ),
        ("https://h/k?response-content-type=text%2Fx&a=b&token=t", {"response-content-type": "text/x"}),
        ("https://h/k?X-Amz-Date=d&tagging&versionId=v%2B1", {"tagging": "", "versionId": "v+1"}),
        ("https://h/k?partNumber=3&uploadId=u&X-Amz-Date=d", {"partNumber": "3", "uploadId": "u"}),
    ],
)
def test_the_parameters_of_an_operation(url: str, kept: dict[str, str]) -> None:
    assert operation_query(url) == kept


GET = Link(
    "GET",
    f"https://h/k?{NAMED}=x&versionId=v&x-amz-request-payer=requester&X-Amz-Date=d",
    {"Host": "h", "x-amz-checksum-mode": "ENABLED", "x-amz-server-side-encryption-customer-key": "c"},
)
PUT = Link(
    "PUT",
    "https://h/k?X-Amz-Date=d",
    {"Content-Type": "t", "x-amz-meta-a": "b", "If-None-Match": "*", "x-amz-request-payer": "requester"},
)
CUSTOMER = {"x-amz-server-side-encryption-customer-key": "c"}
PAYER = {"x-amz-request-payer": "requester"}


@pytest.mark.parametrize(
    ("link", "method", "query", "headers"),
    [
        (GET, "GET", {NAMED: "x", "versionId": "v"} | PAYER, {"x-amz-checksum-mode": "ENABLED"} | CUSTOMER),
        (GET, "HEAD", {NAMED: "x", "versionId": "v"} | PAYER, {"x-amz-checksum-mode": "ENABLED"} | CUSTOMER),
        (GET, "PUT", {}, CUSTOMER | PAYER),
        (GET, "DELETE", {"versionId": "v"} | PAYER, {}),
        (PUT, "PUT", {}, PUT.headers),
        (PUT, "GET", PAYER, {}),
        (PUT, "POST", {}, {"Content-Type": "t", "x-amz-meta-a": "b"} | PAYER),
    ],
)
def test_another_method_keeps_the_settings_that_it_supports(
    link: Link, method: str, query: dict[str, str], headers: dict[str, str]
) -> None:
    kept = preserved_settings(link, method)
    assert (kept.query, kept.headers) == (query, headers)


def test_overrides_can_be_removed() -> None:
    assert without_response_overrides(GET).url == "https://h/k?versionId=v&x-amz-request-payer=requester&X-Amz-Date=d"
    assert without_response_overrides(PUT) is PUT


def again(both: Both, refs: list[ObjectRef], method: Method, options: LinkOptions, **more: object) -> list[Link]:
    old = both.presigner.sign_batch(refs, method, options=options)
    return both.presigner.sign_again(old, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("GET", LinkOptions()),
        ("GET", LinkOptions(filename="{name}", response_content_type="text/x", checksum_mode="ENABLED")),
        ("GET", LinkOptions(sse_customer_key=KEY, request_payer="requester")),
        ("HEAD", LinkOptions(response_expires="x")),
        ("DELETE", LinkOptions(request_payer="requester")),
        ("PUT", LinkOptions(content_type="t/x", metadata={"a": "b"}, storage_class="GLACIER_IR", tagging="k=v&l=w")),
        ("PUT", LinkOptions(sse="aws:kms", sse_kms_key_id="id", if_none_match="*", request_payer="requester")),
    ],
)
def test_a_link_that_is_signed_again_is_the_same(
    europe: Both, clock: Clock, method: Method, options: LinkOptions
) -> None:
    """Byte for byte, as the clock stands still; the order of parameters apart."""
    refs = [ObjectRef("bucket", f"a/k {n}") for n in range(3)]
    old = europe.presigner.sign_batch(refs, method, options=options)
    new = again(europe, refs, method, options)
    for before, after in zip(old, new, strict=True):
        assert (after.method, after.headers, after.object) == (before.method, before.headers, before.object)
        assert sorted(parse_qsl(urlsplit(after.url).query)) == sorted(parse_qsl(urlsplit(before.url).query))


def test_links_with_the_same_settings_share_a_signer(europe: Both, signers: list[object]) -> None:
    refs = [ObjectRef("bucket", f"{n}") for n in range(50)]
    put = europe.presigner.sign_batch(refs, "PUT", options=LinkOptions(content_type="t/x", metadata={"a": "b"}))
    get = europe.presigner.sign_batch(refs, "GET", options=LinkOptions(filename="{name}"))
    plain = europe.presigner.sign_batch(refs, "GET")
    mixed = [link for three in zip(put, get, plain, strict=True) for link in three]
    signers.clear()
    fresh_link = europe.presigner.sign_again(mixed)
    assert len(signers) == 3
    assert [(link.method, link.object, link.headers) for link in fresh_link] == [
        (link.method, link.object, link.headers) for link in mixed
    ]
    assert len({id(link.headers) for link in fresh_link if link.method == "PUT"}) == 1


def test_options_and_columns_override_the_settings_of_a_link(europe: Both) -> None:
    old = LinkOptions(content_type="old", metadata={"a": "1", "b": "2"}, sse="aws:kms", sse_kms_key_id="id")
    refs = [ObjectRef("bucket", "a"), ObjectRef("bucket", "b", content_type="row", extra={"metadata": '{"c": "3"}'})]
    links = [
        Link(link.method, link.url, link.headers, None, ref)
        for link, ref in zip(
            europe.presigner.sign_batch([ObjectRef("bucket", "a"), ObjectRef("bucket", "b")], "PUT", options=old),
            refs,
            strict=True,
        )
    ]
    options = LinkOptions(content_type="new", sse="AES256", metadata={"z": "9"})
    first, second = europe.presigner.sign_again(links, options=options, headers={"X-Amz-Acl": "private"})
    sse = {"x-amz-server-side-encryption": "AES256", "X-Amz-Acl": "private"}
    assert first.headers == sse | {"Content-Type": "new", "x-amz-meta-z": "9"}
    assert second.headers == sse | {"Content-Type": "row", "x-amz-meta-c": "3"}
    (third,) = europe.presigner.sign_again(links[:1], headers={"content-type": "by name"})
    assert third.headers["content-type"] == "by name" and "Content-Type" not in third.headers
    get = europe.presigner.sign_batch(refs, options=LinkOptions(filename="a", response_expires="x"))
    (named, disposed) = europe.presigner.sign_again(get, options=LinkOptions(filename="{name}.txt"))
    assert "a.txt" in query_of(named)[NAMED] and "b.txt" in query_of(disposed)[NAMED]
    assert query_of(named)["response-expires"] == "x"


def test_links_without_bucket_or_key_are_refused(europe: Both) -> None:
    with pytest.raises(ParameterError, match="the key is empty"):
        europe.presigner.sign_again([Link("GET", "https://h/k?X-Amz-Date=d", {})])
    with pytest.raises(ParameterError, match="method 'POST' is not one of"):
        europe.presigner.sign_again([Link("POST", "https://h/k", {}, None, ObjectRef("bucket", "k"))])
    assert europe.presigner.sign_again([]) == []
