"""The objects of an S3 location: one key, all keys under a prefix, or all keys that match a pattern."""

from collections.abc import AsyncIterator

from bulkpresign.errors import ListingError
from bulkpresign.model import ObjectRef
from bulkpresign.signing.options import CREATING
from bulkpresign.signing.presigner import Presigner
from bulkpresign.source.location import Location
from bulkpresign.source.pattern import Pattern


async def located(
    place: Location, presigner: Presigner, method: str | None, *, must_exist: bool
) -> AsyncIterator[list[ObjectRef]]:
    """All objects of a location, a page at a time, to be signed for links of `method`.

    Raises ListingError for a bucket that can't be listed, for a pattern that matches nothing, and for a key that has no
    object but is a prefix of others; with `must_exist`, for any key without an object. PUT links need no object.
    """
    if place.is_prefix:
        async for page in presigner.aws.list_objects(place.bucket, place.key):
            yield page
    elif place.pattern is not None:
        async for page in _matching(place, place.pattern, presigner):
            yield page
    elif method in CREATING:  # the request creates the object
        yield [ObjectRef(place.bucket, place.key)]
    else:
        yield [await _one(place, presigner, must_exist=must_exist)]


async def _matching(place: Location, pattern: Pattern, presigner: Presigner) -> AsyncIterator[list[ObjectRef]]:
    is_empty = True
    async for page in presigner.aws.list_objects(place.bucket, pattern.prefix, base=pattern.base):
        if found := [ref for ref in page if pattern.matches(ref.key)]:
            is_empty = False
            yield found
    if is_empty:
        raise ListingError(f"no object matches {place.uri}; --literal is for a key that holds * ? or [ itself")


async def _one(place: Location, presigner: Presigner, *, must_exist: bool) -> ObjectRef:
    found, is_prefix = await presigner.aws.find_object(place.bucket, place.key)
    if found is not None:
        return found
    if is_prefix:
        raise ListingError(f"{place.uri} is no object; objects lie under {place.uri}/: write that")
    if must_exist:
        raise ListingError(f"{place.uri} is no object, and no objects lie under {place.uri}/")
    return ObjectRef(place.bucket, place.key)
