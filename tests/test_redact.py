"""Messages without secrets."""

import pytest

from bulkpresign.redact import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http:/h/k?a=b&X-Amz-Signature=s is missing", "http:/h/k?*** is missing"),
        ("'https://h/k?AWSAccessKeyId=a&Signature=s&Expires=1': no", "'https://h/k?***': no"),
        ("https://h/k?x-amz-credential=c", "https://h/k?***"),
        ("s3://b/what? is it", "s3://b/what? is it"),
        ("s3://b/k?versionId=v: a", "s3://b/k?versionId=v: a"),
    ],
)
def test_a_message_shows_no_signed_query(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
