"""The answers of workers: the coordinator gets each outcome unchanged, with its own object and link."""

from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.model import Evidence, Link, ObjectRef, Outcome, Status, Upload
from bulkpresign.scale.messages import BatchResult, decode_result, encode_result, finished, outcome_of
from bulkpresign.transfer.engine.jobs import Digest, Job, LocalFile, MultipartUpload, RenewableLink

REF = ObjectRef("bucket", "key", size=3, etag="e", extra={"column": "value"})
LINK = Link("GET", "https://h/bucket/key?X-Amz-Signature=1", {"range": "bytes=0-2"}, None, REF)
UPLOAD = Upload(REF, "", (), LINK)

texts = st.none() | st.text(max_size=5)
numbers = st.integers(0, 2**63 - 1)
evidence = st.builds(Evidence, numbers, numbers, numbers, texts, texts, numbers)
statuses: st.SearchStrategy[Status] = st.sampled_from(("done", "skipped", "failed", "expired"))


def through_a_worker(outcome: Outcome, job: Job) -> Outcome:
    answer = decode_result(encode_result(BatchResult(worker="w", outcomes=[finished(4, outcome)])))
    assert [each.job for each in answer.outcomes] == [4]
    return outcome_of(answer.outcomes[0], job)


@given(statuses, numbers, st.integers(0, 9), texts, texts, texts, st.floats(0, 1e6), st.none() | evidence)
def test_an_outcome_comes_back_as_it_was(
    status: Status,
    size: int,
    attempts: int,
    verified_by: str | None,
    code: str | None,
    message: str | None,
    seconds: float,
    found: Evidence | None,
) -> None:
    outcome = Outcome(REF, status, size, attempts, verified_by, code, message, LINK, seconds, None, found)
    back = through_a_worker(outcome, Job(RenewableLink(LINK), LocalFile("key")))
    assert back == outcome
    assert back.link is LINK
    assert back.object is REF


def test_an_object_that_was_read_for_its_digest_has_it() -> None:
    read = ObjectRef("bucket", "key", size=7, checksum="sha256:AAAA", etag="other")
    outcome = Outcome(read, "done", 7, link=LINK)
    back = through_a_worker(outcome, Job(RenewableLink(LINK), Digest("sha256")))
    assert (back.object.size, back.object.checksum) == (7, "sha256:AAAA")
    assert (back.object.etag, back.object.extra) == ("e", {"column": "value"})
    assert through_a_worker(outcome, Job(RenewableLink(LINK), LocalFile("key"))).object is REF


def test_an_upload_that_is_not_done_keeps_its_links() -> None:
    """Its row in the failures file needs them."""
    job = Job(LocalFile("key"), MultipartUpload(UPLOAD))
    for status, upload in (("failed", UPLOAD), ("expired", UPLOAD), ("done", None)):
        outcome = Outcome(REF, status, link=LINK)  # type: ignore[arg-type]
        assert through_a_worker(outcome, job).upload is upload
