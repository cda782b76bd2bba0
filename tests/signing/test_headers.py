"""Headers with which no link works are refused before anything is signed."""

import pytest

from bulkpresign.errors import ParameterError
from bulkpresign.signing.headers import check_headers

MD5 = "1B2M2Y8AsgTpgAmY7PhCfg=="


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("HOST", "foo", "the host of a link is that of its server: leave it out"),
        ("Transfer-Encoding", "chunked", "S3 takes no upload without its length: leave it out"),
        ("Content-MD5", "xx", "the md5 of the file is expected, 16 bytes in base64"),
        ("content-md5", "d41d8cd98f00b204e9800998ecf8427e", "the md5 of the file is expected, 16 bytes in base64"),
        ("content-md5", f"{MD5}-2", "the md5 of the file is expected, 16 bytes in base64"),
        *[
            (name, "x", "clients and proxies set it themselves, so that its signature does not hold: leave it out")
            for name in ("Connection", "Expect", "keep-alive", "TE", "Trailer", "Upgrade")
        ],
    ],
)
def test_a_header_with_which_no_link_works(name: str, value: str, problem: str) -> None:
    with pytest.raises(ParameterError) as caught:
        check_headers({"x-amz-meta-a": "b", name: value})
    assert str(caught.value) == f"header {name}: {problem}"


def test_other_headers_are_left_to_the_server() -> None:
    """A length is signed on purpose: the link then takes no other file."""
    check_headers({"Content-MD5": MD5, "Content-Length": "5", "x-te": "x", "Content-Type": "a/b"})
    check_headers(None)
