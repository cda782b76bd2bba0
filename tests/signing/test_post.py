"""Upload forms have the same fields as botocore's."""

import base64
import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkpresign.errors import ParameterError, SigningError
from bulkpresign.model import ObjectRef
from tests.signing import oracle
from tests.signing.conftest import Clock
from tests.signing.oracle import AWKWARD_KEYS, Both

FIELDS = [
    None,
    {"Content-Type": "image/png"},
    {"acl": "public-read", "x-amz-meta-wer": "große ]}", "success_action_status": "201"},
]
CONDITIONS: list[Any] = [
    None,
    [],
    [{"Content-Type": "image/png"}],
    [["content-length-range", 0, 1024], ["starts-with", "$Content-Type", "ü/"], {"acl": "public-read"}, {"x": "]}"}],
]


@oracle.examples
@given(
    keys=oracle.key_lists,
    suffix=st.sampled_from(["", "${filename}", "${filename}x"]),
    fields=st.sampled_from(FIELDS),
    conditions=st.sampled_from(CONDITIONS),
    expires_in=oracle.seconds,
)
def test_both_ways_equal_botocore(
    either: Both,
    clock: Clock,
    keys: list[str],
    suffix: str,
    fields: dict[str, str] | None,
    conditions: Any,
    expires_in: int,
) -> None:
    names = [key + suffix for key in keys]
    # botocore adds to the lists that it is given.
    expected = [
        either.client.generate_presigned_post("bucket", name, fields, copy.deepcopy(conditions), expires_in)
        for name in names
    ]
    refs = [ObjectRef("bucket", name) for name in names]
    in_batch = either.presigner.post_batch(refs, fields, conditions or (), expires_in=expires_in)
    one_by_one = [either.presign_post("bucket", name, fields, conditions, expires_in) for name in names]
    for posts in (in_batch, one_by_one):
        assert [{"url": post.url, "fields": post.fields} for post in posts] == expected
        assert [list(post.fields) for post in posts] == [list(post["fields"]) for post in expected]
        assert [post.object for post in posts] == refs
        end = clock.now.replace(microsecond=0) + timedelta(seconds=expires_in)
        assert {post.expires_at for post in posts} == {end}


def test_many_buckets_in_one_batch(either: Both, clock: Clock) -> None:
    refs = [ObjectRef(bucket, key) for key in AWKWARD_KEYS for bucket in ("bucket", "dotted.name", "bucket")]
    posts = either.presigner.post_batch(refs)
    assert [{"url": post.url, "fields": post.fields} for post in posts] == [
        either.client.generate_presigned_post(ref.bucket, ref.key) for ref in refs
    ]


def test_arguments_are_not_modified(europe: Both) -> None:
    fields, conditions = {"acl": "private"}, [{"acl": "private"}]
    europe.presign_post("bucket", "key", fields, conditions)
    europe.presigner.post_batch([ObjectRef("bucket", "key")], fields, conditions)
    assert (fields, conditions) == ({"acl": "private"}, [{"acl": "private"}])


@pytest.mark.parametrize("conditions", [iter([["content-length-range", 0, 5]]), "abc", [5], None])
def test_conditions_that_are_no_list_of_conditions(europe: Both, conditions: Any) -> None:
    """The form of a second bucket would have none of an iterator."""
    refs = [ObjectRef("bucket", "key"), ObjectRef("other", "key")]
    with pytest.raises(TypeError, match="condition"):
        europe.presigner.post_batch(refs, conditions=conditions)


def test_the_policy_says_what_was_asked(europe: Both, clock: Clock) -> None:
    (post,) = europe.presigner.post_batch([ObjectRef("bucket", "a/${filename}")], conditions=CONDITIONS[3])
    policy = json.loads(base64.b64decode(post.fields["policy"]))
    assert policy["expiration"] == "2026-03-01T00:59:58Z"
    assert policy["conditions"][:6] == [*CONDITIONS[3], {"bucket": "bucket"}, ["starts-with", "$key", "a/"]]


@pytest.mark.parametrize("key", ["", "a\0b", "x" * 1025, "\ud800"])
def test_keys_that_are_not_valid(europe: Both, key: str) -> None:
    with pytest.raises(ParameterError, match="key"):
        europe.presign_post("bucket", key)
    with pytest.raises(ParameterError, match="key"):
        europe.presigner.post_batch([ObjectRef("bucket", "good"), ObjectRef("bucket", key)])


def test_buckets_that_are_not_valid(europe: Both) -> None:
    with pytest.raises(ParameterError, match="bucket"):
        europe.presign_post("no/bucket", "key")
    with pytest.raises(ParameterError, match="bucket"):
        europe.presigner.post_batch([ObjectRef("no/bucket", "key")])
    with pytest.raises(SigningError, match="directory bucket"):
        europe.presign_post("mine--use1-az4--x-s3", "key")
    with pytest.raises(SigningError, match="directory bucket"):
        europe.presigner.post_batch([ObjectRef("mine--use1-az4--x-s3", "key")])
    with pytest.raises(SigningError):
        europe.presign_post(None, "key")
