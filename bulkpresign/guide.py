"""The three functions of the presigned-URL guide, as coroutines.

Source: AWS SDK for Python guide, "Presigned URLs". As there, an error is logged and the result is None.
"""

import logging
from collections.abc import Mapping
from typing import Any

from bulkpresign.errors import InputError
from bulkpresign.signing.presigner import Presigner

_logger = logging.getLogger(__name__)


async def create_presigned_url(bucket_name: str, object_name: str, expiration: int = 3600) -> str | None:
    """A url that allows anyone to GET one object for `expiration` seconds. None and a logged error if it fails."""
    return await create_presigned_url_expanded("get_object", {"Bucket": bucket_name, "Key": object_name}, expiration)


async def create_presigned_url_expanded(
    client_method_name: str,
    method_parameters: Mapping[str, Any] | None = None,
    expiration: int = 3600,
    http_method: str | None = None,
) -> str | None:
    """A url for any method of the S3 client, or None and a logged error.

    The HTTP method is that of the operation unless given.
    """
    try:
        async with Presigner() as presigner:
            link = await presigner.presign(client_method_name, method_parameters, expiration, http_method)
    except InputError as error:
        _logger.error("%s can't be presigned: %s", client_method_name, error)
        return None
    return link.url


async def create_presigned_post(
    bucket_name: str,
    object_name: str,
    fields: Mapping[str, str] | None = None,
    conditions: list[Any] | None = None,
    expiration: int = 3600,
) -> dict[str, Any] | None:
    """`{"url": ..., "fields": {...}}` for a form upload of one object, or None and a logged error.

    `fields` are prefilled form fields; each needs a condition that allows it.
    """
    try:
        async with Presigner() as presigner:
            post = await presigner.presign_post(bucket_name, object_name, fields, conditions, expiration)
    except InputError as error:
        _logger.error("an upload form for s3://%s/%s can't be made: %s", bucket_name, object_name, error)
        return None
    return {"url": post.url, "fields": post.fields}
