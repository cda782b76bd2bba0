"""Messages without secrets."""

import pytest

from bulkpresign.redact import MAX_TEXT, redacted, secrets_of, without_secrets


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("X-Amz-Signature=abc&x=1", "X-Amz-Signature=***&x=1"),
        ("password: 'abc' is wrong", "password: '***' is wrong"),
        ("Authorization: Basic dXNlcjpwYXNz and more\r\nHost: h", "Authorization: ***\r\nHost: h"),
        ("Set-Cookie: a=b; c=d\r\nHost: h", "Set-Cookie: ***\r\nHost: h"),
        ("x-amz-credential=AKIA/20260101/us-east-1/s3", "x-amz-credential=AKIA"),
        ("no way to http://user:secret@host/a@b/c", "no way to http://host/a@b/c"),
        ("http://user:secret@host is not there", "http://host is not there"),
        ("http://host/a is a@b's", "http://host/a is a@b's"),
    ],
)
def test_a_message_shows_no_named_secret(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET http://h/k?a=1 and http://h/k? failed", "GET http://h/k?*** and http://h/k? failed"),
        ("GET http://h/k?plain failed", "GET http://h/k?*** failed"),
        ("for /k?a=1 and /k?what", "for /k?*** and /k?what"),
        ("for /k?a%3D1", "for /k?***"),
        ("for /k%3Fa%3D1 and /k%3fplain", "for /k%3F*** and /k%3fplain"),
        ("10%30", "10%30"),
    ],
)
def test_a_text_from_outside_shows_no_query(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_text_from_outside_is_cut_off_after_what_it_repeats_is_hidden() -> None:
    assert redacted("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert redacted("x" * (MAX_TEXT + 1)) == "x" * MAX_TEXT + "..."
    assert redacted(f"{'x' * (MAX_TEXT - 2)}secret", ["secret"]) == "x" * (MAX_TEXT - 2) + "**..."


def test_the_secrets_of_a_request_are_its_values_as_they_are_and_decoded() -> None:
    query = "X-Amz-Signature=abcd&X-Amz-Date=20260101T000000Z&versionId=vvvv&t=a%2Bb+c&short=xyz&flagged&none="
    headers = {"Authorization": "Bearer TOKEN1", "X-Other": "other", "cookie": "c=1234"}
    secrets = secrets_of(f"https://u%40x:pass@h/k@y?{query}", headers)
    own = {"abcd", "a%2Bb+c", "a+b+c", "a+b c", "flagged", "none"}
    assert set(secrets) == {*own, "Bearer TOKEN1", "TOKEN1", "c=1234", "u%40x:pass", "u@x:pass", "pass"}
    assert [len(secret) for secret in secrets] == sorted((len(secret) for secret in secrets), reverse=True)


@pytest.mark.parametrize(("value", "decoded"), [("a%2Fb%3Dc", "a/b=c"), ("abc+def", "abc def"), ("abcdef", "abcdef")])
def test_decoded_secrets_are_hidden(value: str, decoded: str) -> None:
    assert set(secrets_of(f"http://h/a@b?t={value}", {})) == {value, decoded}
