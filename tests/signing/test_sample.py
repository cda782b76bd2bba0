"""The endpoints of buckets: regions, addressing, own endpoints, dual-stack, FIPS, accelerate, access points."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from anyio.from_thread import BlockingPortal

from bulkpresign.errors import SigningError
from bulkpresign.signing.sample import endpoint_of_sample
from tests.signing.conftest import Clock
from tests.signing.oracle import AWKWARD_KEYS, OPERATIONS, Both, both, parameters

BUCKETS = ["bucket", "dotted.bucket.name", "Old_Bucket", "a-b--c", "123456"]
BRACKETS = "http://[::1]:9000"
ENDPOINTS = [
    "http://localhost:9000",
    "http://localhost:80",
    "https://localhost:443/",
    "https://localhost:80",
    "http://127.0.0.1:8333",
    BRACKETS,
    "https://[2001:db8::1]",
    "https://S3.Example.COM",
    "HTTP://S3.Example.COM:8080",
    "https://s3.example.com/a/path",
    "https://s3.example.com/a/path/",
    "https://s3.us-west-2.amazonaws.com",
]
ACCESS_POINTS = [
    "arn:aws:s3:us-west-2:123456789012:accesspoint/my-point",
    "arn:aws:s3:us-west-2:123456789012:accesspoint:my-point",
    "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-01234567890123456/accesspoint/mine",
    "arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint/banner",
    "my-point-ab12cd34ef56gh78ij90kl12mn34ouse1a-s3alias",
]


def assert_same(opened: Both, bucket: str) -> None:
    urls = opened.presigner.url_batch(bucket, AWKWARD_KEYS)
    assert urls == [opened.expected("GET", parameters(bucket, key)) for key in AWKWARD_KEYS]
    for method in OPERATIONS:
        expected = opened.expected(method, parameters(bucket, "a b//ü"))
        assert opened.all_ways(method, bucket, "a b//ü") == [expected] * 4
    post = opened.client.generate_presigned_post(bucket, "key")
    assert opened.presign_post(bucket, "key").url == post["url"]


@pytest.mark.parametrize("style", ["auto", "path", "virtual"])
@pytest.mark.parametrize(
    "region", [None, "us-east-1", "us-west-2", "eu-central-1", "cn-north-1", "us-gov-west-1", "made-up-1", "aws-global"]
)
def test_regions(portal: BlockingPortal, clock: Clock, region: str | None, style: str) -> None:
    with both(portal, region, addressing_style=style) as opened:
        for bucket in BUCKETS:
            assert_same(opened, bucket)


@pytest.mark.parametrize("style", ["auto", "path", "virtual"])
@pytest.mark.parametrize("endpoint_url", ENDPOINTS)
def test_endpoints(portal: BlockingPortal, clock: Clock, endpoint_url: str, style: str) -> None:
    with both(portal, "eu-west-1", endpoint_url, style) as opened:
        for bucket in BUCKETS[:3]:
            if style == "virtual" and endpoint_url == BRACKETS and "." in bucket and not brackets_follow_names():
                with pytest.raises(SigningError, match="Invalid IPv6 URL"):
                    opened.presigner.url_batch(bucket, ["key"])
            else:
                assert_same(opened, bucket)


def brackets_follow_names() -> bool:
    """True if this Python parses `http://bucket.[::1]/`; newer ones refuse it, and so does botocore."""
    try:
        urlsplit("http://bucket.[::1]/")
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_ENDPOINT_URL": "http://localhost:9001"},
        {"AWS_ENDPOINT_URL_S3": "http://localhost:9002", "AWS_ENDPOINT_URL": "http://localhost:9001"},
        {"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy"},
        {"AWS_S3_USE_ARN_REGION": "false"},
    ],
)
@pytest.mark.parametrize("region", ["us-east-1", "us-west-2"])
def test_variables(
    portal: BlockingPortal,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    region: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with both(portal, region) as opened:
        for bucket in BUCKETS[:3]:
            assert_same(opened, bucket)


@pytest.mark.parametrize(
    "settings",
    [
        "use_accelerate_endpoint = true",
        "use_accelerate_endpoint = true\n  use_dualstack_endpoint = true",
        "use_dualstack_endpoint = true\n  addressing_style = path",
        "addressing_style = path",
        "addressing_style = virtual",
        "us_east_1_regional_endpoint = legacy",
    ],
)
def test_config_files(
    portal: BlockingPortal, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: str
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\ns3 =\n  {settings}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with both(portal, "us-east-1") as opened:
        assert_same(opened, "bucket")
        if "accelerate" not in settings:
            assert_same(opened, "dotted.bucket")


@pytest.mark.parametrize("bucket", ACCESS_POINTS)
def test_access_points(portal: BlockingPortal, clock: Clock, bucket: str) -> None:
    with both(portal, "us-west-2") as opened:
        for key in AWKWARD_KEYS:
            expected = opened.expected("GET", parameters(bucket, key))
            assert opened.presigner.url_batch(bucket, [key]) == [expected]


def test_an_access_point_is_signed_for_its_own_region(portal: BlockingPortal, clock: Clock) -> None:
    with both(portal, "eu-west-1") as opened:
        (url,) = opened.presigner.url_batch(ACCESS_POINTS[0], ["key"])
        assert url == opened.expected("GET", parameters(ACCESS_POINTS[0], "key"))
        assert "%2Fus-west-2%2Fs3%2F" in url


@pytest.mark.parametrize(
    ("bucket", "why"),
    [
        ("mine--use1-az4--x-s3", "directory bucket"),
        ("mine--use1-az4--xa-s3", "directory bucket"),
        ("arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap", "SigV4A"),
        ("arn:aws:s3:made", "Invalid bucket name"),
    ],
)
def test_buckets_without_sigv4_links_are_refused(europe: Both, bucket: str, why: str) -> None:
    for attempt in (
        lambda: europe.presigner.url_batch(bucket, ["key"]),
        lambda: europe.all_ways("GET", bucket, "key"),
        lambda: europe.presign("get_object", {"Bucket": bucket, "Key": "key"}),
    ):
        with pytest.raises(SigningError, match=why):
            attempt()


def test_errors_of_botocore_are_translated(
    portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with both(portal, "us-east-1") as opened, pytest.raises(SigningError, match="Accelerate"):
        opened.presigner.url_batch("dotted.bucket", ["key"])


def test_a_sample_that_is_not_reproduced_is_refused(europe: Both) -> None:
    sample = europe.presigner.aws.sample_link("bucket")
    assert endpoint_of_sample(sample).region == "eu-central-1"
    for other in (
        sample.replace("SAMPLE%2F", "OTHER%2F"),
        sample.replace("?", "?x-id=GetObject&"),
        sample[:-1] + ("0" if sample[-1] != "0" else "1"),
        sample.replace("bulkpresign-sample", "bulkpresign-sampler"),
        sample.replace("eu-central-1%2Fs3", "s3"),
    ):
        with pytest.raises(SigningError, match="presign"):
            endpoint_of_sample(other)
