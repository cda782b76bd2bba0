"""The objects of an S3 location: one key, all keys under a prefix, or all keys that match a pattern."""

from collections.abc import AsyncIterator

from bulkpresign.errors import ListingError
from bulkpresign.model import ObjectRef
from bulkpresign.pipeline.sources.listings import BucketLister
from bulkpresign.signing.options import CREATING
from bulkpresign.source.location import Location
from bulkpresign.source.pattern import Pattern


async def located(
    place: Location, lister: BucketLister, method: str | None, *, must_exist: bool
) -> AsyncIterator[list[ObjectRef]]:
    """All objects of a location, a page at a time, to be signed for links of `method`.

    Raises ListingError for a bucket that can't be listed, for a pattern that matches nothing, and for a key that has no
    object but is a prefix of others; with `must_exist`, for any key without an object. PUT links need no object.
    """
    if place.is_prefix:
        async for page in lister.objects(place.bucket, place.key):
            yield page
    elif place.pattern is not None:
        async for page in _matching(place, place.pattern, lister):
            yield page
    elif method in CREATING:  # the request creates the object
        yield [ObjectRef(place.bucket, place.key)]
    else:
        yield await _one(place, lister, must_exist=must_exist)


async def _matching(place: Location, pattern: Pattern, lister: BucketLister) -> AsyncIterator[list[ObjectRef]]:
    is_empty = True
    async for page in lister.objects(place.bucket, pattern.prefix, base=pattern.base):
        if found := [ref for ref in page if pattern.matches(ref.key)]:
            is_empty = False
            yield found
    if is_empty:
        raise ListingError(f"no object matches {place.uri}; --literal is for a key that holds * ? or [ itself")


async def _one(place: Location, lister: BucketLister, *, must_exist: bool) -> list[ObjectRef]:
    found, is_prefix = await lister.find(place.bucket, place.key)
    if found:
        return found
    if is_prefix:
        raise ListingError(f"{place.uri} is no object; objects lie under {place.uri}/: write that")
    if must_exist:
        raise ListingError(f"{place.uri} is no object, and no objects lie under {place.uri}/")
    return [ObjectRef(place.bucket, place.key)]
