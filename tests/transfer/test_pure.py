"""Decisions without a socket: what an answer means, when to try again, which names are refused."""

import os
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkpresign.errors import (
    LinkExpiredError,
    MismatchError,
    NameRefusedError,
    ParameterError,
    RefusedError,
    ServerError,
    StorageError,
    ThrottledError,
    TransferError,
    TruncatedError,
)
from bulkpresign.http.s3_errors import error_of, retry_after
from bulkpresign.model import Link
from bulkpresign.transfer.disk.folder import Folder, Target
from bulkpresign.transfer.disk.paths import path_problem
from bulkpresign.transfer.disk.temporary import TemporaryFile
from bulkpresign.transfer.engine import retries
from bulkpresign.transfer.engine.retries import delay_before

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LINK = Link("GET", "http://h/a?X-Amz-Signature=secret", {}, NOW + timedelta(hours=1))
OVER = Link("GET", "http://h/a?X-Amz-Signature=secret", {}, NOW - timedelta(seconds=1))


def response(status: int, code: str = "", link: Link = LINK, **headers: str) -> TransferError:
    body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
    return error_of(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, link, NOW)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "SlowDown", ThrottledError),
        (503, "ServiceUnavailable", ThrottledError),
        (429, "", ThrottledError),
        (500, "InternalError", ServerError),
        (200, "InternalError", ServerError),
        (200, "SlowDown", ThrottledError),
        (502, "", ServerError),
        (504, "", ServerError),
        (522, "", ServerError),
        (408, "", ServerError),
        (400, "RequestTimeout", ServerError),
        (400, "ThrottlingException", ThrottledError),
        (403, "RequestLimitExceeded", ThrottledError),
        (400, "BadDigest", ServerError),
        (409, "ConditionalRequestConflict", ServerError),
        (409, "OperationAborted", ServerError),
        (499, "", ServerError),
        (400, "ThrottlingException", ThrottledError),
        (400, "KMS.ThrottlingException", ThrottledError),
        (403, "RequestThrottled", ThrottledError),
        (400, "BandwidthLimitExceeded", ThrottledError),
        (412, "PreconditionFailed", RefusedError),
        (400, "ExpiredToken", LinkExpiredError),
        (403, "ExpiredRequest", LinkExpiredError),
        (403, "AccessDenied", RefusedError),
        (403, "SignatureDoesNotMatch", RefusedError),
        (403, "RequestTimeTooSkewed", RefusedError),
        (404, "NoSuchKey", RefusedError),
        (412, "PreconditionFailed", RefusedError),
        (400, "EntityTooLarge", RefusedError),
        (403, "InvalidObjectState", RefusedError),
        (307, "TemporaryRedirect", RefusedError),
        (501, "NotImplemented", RefusedError),
    ],
)
def test_the_kind_of_error(status: int, code: str, kind: type[TransferError]) -> None:
    error = response(status, code)
    assert type(error) is kind
    assert error.code == (code or f"HTTP{status}")
    assert error.status == status


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"),  # AWS, SeaweedFS
        (403, b"<Error><Code>AccessDenied</Code></Error>"),  # Ceph
        (400, b"<Error><Code>AccessDenied</Code><Message>difference between</Message></Error>"),  # rclone
        (400, b"<Error><Code>InvalidRequest</Code><Message>Bad request: Date is too old</Message></Error>"),  # Garage
        (403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>"),
        (401, b'{"code": "NotAuthenticated", "message": "The required information is not there"}'),
        (403, b""),
        (401, b""),
    ],
)
def test_a_link_that_is_over_has_expired(status: int, body: bytes) -> None:
    assert isinstance(error_of(status, {}, body, OVER, NOW), LinkExpiredError)
    is_aws = b"has expired" in body
    assert isinstance(error_of(status, {}, body, LINK, NOW), LinkExpiredError if is_aws else RefusedError)


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "InvalidTokenId"])
def test_credentials_with_a_token_that_have_ended(code: str) -> None:
    """MinIO does not know them any more. A key without a token is wrong at any time."""
    body = f"<Error><Code>{code}</Code></Error>".encode()
    with_token = msgspec.structs.replace(LINK, url=f"{LINK.url}&X-Amz-Security-Token=t")
    assert isinstance(error_of(403, {}, body, with_token, NOW), LinkExpiredError)
    assert isinstance(error_of(403, {}, body, LINK, NOW), RefusedError)


@pytest.mark.parametrize(("status", "code"), [(400, "IllegalLocationConstraintException"), (307, "TemporaryRedirect")])
def test_the_global_host_has_a_remedy(status: int, code: str) -> None:
    assert "--addressing-style virtual" in str(response(status, code))


@pytest.mark.parametrize(("status", "code"), [(404, "NoSuchKey"), (405, "MethodNotAllowed")])
def test_an_object_that_was_deleted_is_called_so(status: int, code: str) -> None:
    """A version of it that is a delete marker has another status than the key."""
    error = error_of(status, {"x-amz-delete-marker": "true"}, f"<Code>{code}</Code>".encode(), LINK, NOW)
    assert str(error) == f"{status} {code} (it was deleted: this version is a delete marker)"


@pytest.mark.parametrize(
    "said",
    [
        "The object was stored using a form of Server Side Encryption. The correct parameters must be provided",
        "Requests specifying Server Side Encryption with Customer provided keys must provide the customer key.",
        "Requests specifying Server Side Encryption [...] must provide a valid encryption algorithm.",
    ],
    ids=["AWS", "SeaweedFS", "Ceph"],
)
def test_an_object_under_a_key_of_its_owner_has_a_remedy(said: str) -> None:
    body = f"<Error><Code>InvalidRequest</Code><Message>{said}</Message></Error>".encode()
    assert "--sse-customer-key" in str(error_of(400, {}, body, LINK, NOW))


def test_a_link_that_is_over_may_be_wrong_as_well() -> None:
    assert isinstance(response(403, "SignatureDoesNotMatch", OVER), RefusedError)
    assert isinstance(response(403, "InvalidObjectState", OVER), RefusedError)
    assert isinstance(response(404, "NoSuchKey", OVER), RefusedError)


def test_the_difference_of_clocks_is_told_where_it_is_known() -> None:
    def said(code: str, difference: str) -> str:
        body = f"<Error><Code>{code}</Code></Error>".encode()
        return str(error_of(403, {}, body, LINK, NOW, difference=difference))

    known = "the server is 20 min ahead"
    assert said("RequestTimeTooSkewed", known) == f"403 RequestTimeTooSkewed ({known})"
    assert "this machine's clock, or the signer's, is wrong" in said("RequestTimeTooSkewed", "")
    assert "is not what was signed" in said("SignatureDoesNotMatch", known)
    assert said("NoSuchKey", known) == "403 NoSuchKey"


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda url: url.replace("&", "&amp;"), "the link has &amp; where & was signed"),
        (lambda url: url.replace("&", "\\u0026"), "the link has \\u0026 where & was signed"),
        (lambda url: url.partition("&")[0], "the link ends before its signature; copy all of it"),
        (lambda url: url[:-1], "the link's signature is cut, or something follows it"),
        (lambda url: f"{url},", "the link's signature is cut, or something follows it"),
        (lambda url: url, "signed for another region"),
        (lambda url: f"{url}&x-id=GetObject", "signed for another region"),
        (lambda url: url.replace("HMAC", "ECDSA-P256")[:-1], "signed for another region"),
    ],
)
def test_a_link_that_was_changed_on_its_way(change: Callable[[str], str], hint: str) -> None:
    whole = f"https://h/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=x&X-Amz-Signature={'0f' * 32}"
    link = Link("GET", change(whole), {})
    assert f"({hint}" in str(response(400, "AuthorizationHeaderMalformed", link))
    assert "(" not in str(response(404, "NoSuchKey", link))


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://h:8443/k?X-Amz-Signature=s", "https://h:8443"),
        ("http://[::1]/k", "http://[::1]"),
        ("/login", "elsewhere"),
        ("file:///etc/passwd", "elsewhere"),
        ("https://user:pass@h/", "elsewhere"),
        ("", "elsewhere"),
    ],
)
def test_a_redirect_tells_where_it_leads(location: str, where: str) -> None:
    error = error_of(301, {"location": location}, b"<html>Moved</html>", LINK, NOW)
    assert isinstance(error, RefusedError)
    assert str(error) == f"301 HTTP301 (the server redirects to {where}; no link is sent there)"


def test_the_region_is_told() -> None:
    assert "which is in eu-west-3" in str(response(301, "PermanentRedirect", x_amz_bucket_region="eu-west-3"))
    body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region></Error>"
    assert "which is in us-west-2" in str(error_of(400, {}, body, LINK, NOW))


def test_the_endpoint_is_told() -> None:
    """As Alibaba OSS names it, whose code for that is AccessDenied: aliyun/aliyun-oss-go-sdk #81."""
    body = b"<Error><Code>AccessDenied</Code><Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint></Error>"
    assert str(error_of(403, {}, body, LINK, NOW)).endswith(
        "(the endpoint of the bucket is oss-cn-beijing.aliyuncs.com)"
    )


@pytest.mark.parametrize(
    "code", ["SecondLevelDomainForbidden", "PathStyleDomainForbidden", "VirtualHostDomainRequired"]
)
def test_a_server_without_the_path_style(code: str) -> None:
    """Alibaba OSS (peak/s5cmd #518), Tencent COS (grafana/mimir #7512) and Huawei OBS."""
    assert str(response(403, code)).endswith("in the host name: sign with --addressing-style virtual)")


@given(st.binary(max_size=300), st.integers(100, 599))
def test_any_body_makes_an_error_without_a_secret(body: bytes, status: int) -> None:
    assert "secret" not in str(error_of(status, {}, body, LINK, NOW)).replace("secret", "", body.count(b"secret"))


@given(st.integers(0, 10**6))
def test_retry_after_as_a_number_and_as_a_date(seconds: int) -> None:
    assert retry_after({"retry-after": str(seconds)}, NOW) == seconds
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after({"retry-after": date}, NOW) == seconds


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "\u0661", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_a_retry_after_that_is_none(value: str) -> None:
    assert retry_after({"retry-after": value}, NOW) is None


def test_a_retry_after_in_the_past_is_no_pause() -> None:
    assert retry_after({"retry-after": "Mon, 24 Nov 2025 00:00:00 GMT"}, NOW) == 0


@given(st.integers(2, 60), st.floats(0, 1))
def test_jitter_is_full_and_bounded(attempt: int, luck: float) -> None:
    """`random.uniform` is replaced by its definition, so that the whole interval is seen."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("random.uniform", lambda low, high: low + (high - low) * luck)
        patched.setattr(retries, "BASE_DELAY", 0.2)
        delay = delay_before(attempt, ServerError("", code=""))
    assert delay == pytest.approx(luck * min(20.0, 0.2 * 2 ** (attempt - 1)))


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (ThrottledError("", code=""), True),
        (TruncatedError("", code=""), True),
        (MismatchError("", code=""), True),
        (RefusedError("", code=""), False),
        (StorageError("", code=""), False),
        (LinkExpiredError("", code=""), False),
        (ThrottledError("", code="", retry_after=300), True),
        (ThrottledError("", code="", retry_after=301), False),
    ],
)
def test_what_a_retry_helps(error: TransferError, helps: bool) -> None:
    assert (delay_before(2, error) is not None) is helps


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "it is empty"),
        ("/a", "it is absolute"),
        ("a\0b", "it has a NUL character"),
        ("a//b", "it has an empty segment"),
        ("a/", "it has an empty segment"),
        ("./a", "it has a segment '.'"),
        ("a/../b", "it has a segment '..'"),
        ("..", "it has a segment '..'"),
        ("a" * 256, "it has a segment of over 255 bytes"),
        ("\ud55c" * 86, "it has a segment of over 255 bytes"),
        ("b/" + "\u00e9" * 128, "it has a segment of over 255 bytes"),
    ],
)
def test_a_path_that_is_refused(path: str, problem: str, tmp_path: Path) -> None:
    assert path_problem(path) == problem
    with pytest.raises(NameRefusedError):
        Folder(tmp_path).check(path)


@pytest.mark.parametrize("path", ["a", "d/a", "d/\ud55c" + "y" * 238, "d/" + "\ud55c" * 85])
def test_the_temporary_name_of_another_file_is_refused_as_a_target(path: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    name = folder.target(path).temporary_name
    taken = f"{path.rpartition('/')[0]}/{name}".removeprefix("/")
    for refuse in (lambda: folder.check_all(["b", taken]), lambda: folder.target(taken)):
        with pytest.raises(NameRefusedError, match="it is the temporary name of "):
            refuse()
    folder.check_sources([taken])  # as a source it is a file as any other
    folder.check_all(["b", "a.part", "a.0badc0de.part"])


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=120))
def test_a_path_is_refused_where_posix_would_store_it_otherwise(path: str) -> None:
    """The oracle: pathlib's segments are those of the path, none is special, and none is too long."""
    parts = path.split("/")
    fits = all(part not in {"", ".", ".."} and len(part.encode()) <= 255 and "\0" not in part for part in parts)
    assert (path_problem(path) is None) is fits


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=90),
        min_size=1,
        max_size=3,
    )
)
def test_a_part_lies_beside_its_file_and_fits(segments: list[str]) -> None:
    path = "/".join(segments)
    if path_problem(path):
        return
    part = Target(Folder("/to"), path).temporary_full_name
    folder, _, name = os.fsencode(part).rpartition(b"/")
    assert folder == os.fsencode(f"/to/{path}").rpartition(b"/")[0]
    assert len(name) <= 255
    assert name.endswith(f".{zlib.crc32(path.encode()):08x}.part".encode())


@pytest.mark.parametrize(
    "name", ["con", "a.", " ", "a\nb", "\x1b[31m", "e\u0301", "\u00e9", "\u202e", "x" * 255, "\ud55c" * 85]
)
def test_a_name_is_stored_under_its_own_bytes(name: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with TemporaryFile(folder.target(f"d/{name}")) as part:
        part.write(b"x")
        part.commit()
    assert [found.name for found in (tmp_path / "d").iterdir()] == [name]


SOME_PATHS = ["a", "b", "in/c", "in/d", "out/a", "x" * 64, "a\0b", "in/\0"]


def refused(check: Callable[[], object]) -> str | None:
    """The path that is refused, None where none is."""
    try:
        check()
    except NameRefusedError as error:
        return error.path
    return None


@given(st.lists(st.text("ab./\0é", max_size=6), max_size=3) | st.lists(st.sampled_from(SOME_PATHS), max_size=6))
@example(["a", "a\0b"])
def test_many_paths_at_once_are_as_good_as_each_of_them(paths: list[str]) -> None:
    with TemporaryDirectory() as name:
        (Path(name) / "root").mkdir()
        (Path(name) / "root" / "out").symlink_to(name)
        one_by_one = Folder(Path(name) / "root")
        first = next((path for path in paths if refused(partial(one_by_one.check, path)) is not None), None)
        assert refused(lambda: Folder(Path(name) / "root").check_all(paths)) == first


def test_a_way_out_through_a_link_is_refused(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "f").write_text("x")
    (root / "out").symlink_to(outside)
    (root / "file").symlink_to(outside / "f")
    (root / "in").mkdir()
    (root / "inner").symlink_to(root / "in")
    folder = Folder(root)
    for path in ("out/f", "out/new/f"):
        with pytest.raises(NameRefusedError, match="symbolic link"):
            folder.check(path)
    with pytest.raises(NameRefusedError, match="symbolic link"):
        folder.check_sources(["file"])
    with pytest.raises(NameRefusedError, match="symbolic link"):
        folder.open_source("file")
    folder.check("file")  # a download replaces the link itself
    folder.check("inner/f")


def test_a_root_that_is_a_link_is_as_good(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    Folder(tmp_path / "link").check("a/b")


def test_what_was_made_goes_again_where_input_is_bad(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    folder = Folder(tmp_path / "there" / "a" / "b")
    with pytest.raises(ParameterError), folder.made():
        assert folder.root.is_dir()
        raise ParameterError("bad")
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    with folder.made():
        pass
    assert folder.root.is_dir()
    with pytest.raises(ParameterError), folder.made():
        raise ParameterError("bad")
    assert folder.root.is_dir()


def test_a_folder_that_was_made_or_was_empty_has_no_older_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "to")
    for _ in range(2):
        with folder.made():
            assert folder.was_empty
    (folder.root / "file").touch()
    with folder.made():
        assert not folder.was_empty


def test_a_folder_under_a_name_is_no_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path.parent)
    with pytest.raises(StorageError, match="is a folder"):
        folder.target(tmp_path.name).found()
    assert folder.target("none").found() is None
    with TemporaryFile(folder.target(tmp_path.name)) as part:
        part.write(b"x")
        with pytest.raises(StorageError):
            part.commit()
