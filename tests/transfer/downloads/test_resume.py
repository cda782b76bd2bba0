"""Which bytes on disk a request goes on with, and which answers continue them."""

import pytest

from bulkpresign.errors import MismatchError
from bulkpresign.model import ResumePoint
from bulkpresign.transfer.downloads.resume import RANGE_MISMATCH, Resume, check_range, resume_of, told_size

WHOLE = ResumePoint("e", 10)


@pytest.mark.parametrize(
    ("part", "on_disk", "at"),
    [
        (WHOLE, 1, 1),
        (WHOLE, 9, 9),
        (WHOLE, 10, None),
        (WHOLE, 11, None),
        (WHOLE, 0, None),
        (WHOLE, None, None),
        (None, 5, None),
        (ResumePoint("e", 10, 4), 5, None),
    ],
)
def test_a_request_goes_on_where_some_bytes_of_one_stream_are_there(
    part: ResumePoint | None, on_disk: int | None, at: int | None
) -> None:
    resume = resume_of(part, on_disk)
    assert (None if resume is None else resume.at) == at
    if resume is not None:
        assert resume.headers == {"Range": f"bytes={at}-", "If-Match": '"e"'}


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
    if said is None:
        check_range(headers, 4, 10, 10)
        Resume(4, WHOLE).check(headers)
        return
    with pytest.raises(MismatchError) as caught:
        Resume(4, WHOLE).check(headers)
    assert str(caught.value) == f"bytes 4-9 were asked for, the answer has {said}"
    assert caught.value.code == RANGE_MISMATCH


def test_the_size_that_a_range_tells() -> None:
    assert told_size({"content-range": "bytes 0-0/10"}) == 10
    assert told_size({"content-range": "bytes 0-0/*"}) is None
    assert told_size({"content-range": "bytes 0-0"}) is None
    assert told_size({}) is None
