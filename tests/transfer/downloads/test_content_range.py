"""Which bytes a response with a part of an object has."""

import pytest

from bulkpresign.errors import MismatchError
from bulkpresign.model import ResumePoint
from bulkpresign.transfer.downloads.content_range import RANGE_MISMATCH, check_range, size_in_range
from bulkpresign.transfer.downloads.steps import ResponseHead, Resume

WHOLE = ResumePoint("e", 10)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("bytes 4-9/10", None),
        ("bytes 4-9/*", None),
        ("bytes 4-8/10", "bytes 4-8/10"),
        ("bytes 3-9/10", "bytes 3-9/10"),
        ("bytes 4-9/11", "bytes 4-9/11"),
        ("bytes 4-9/10 and more", "no range that is valid"),
        ("bytes */10", "no range that is valid"),
        (None, "no range that is valid"),
    ],
)
def test_an_answer_continues_bytes_or_tells_others(value: str | None, said: str | None) -> None:
    headers = {} if value is None else {"content-range": value}
    response = ResponseHead(206, "e", 6, headers)
    if said is None:
        check_range(headers, 4, 10, 10)
        Resume(4, WHOLE).check(response)
        return
    with pytest.raises(MismatchError) as caught:
        Resume(4, WHOLE).check(response)
    assert str(caught.value) == f"bytes 4-9 were asked for, the answer has {said}"
    assert caught.value.code == RANGE_MISMATCH


def test_the_size_that_a_range_tells() -> None:
    assert size_in_range({"content-range": "bytes 0-0/10"}) == 10
    assert size_in_range({"content-range": "bytes 0-0/*"}) is None
    assert size_in_range({"content-range": "bytes 0-0"}) is None
    assert size_in_range({}) is None
