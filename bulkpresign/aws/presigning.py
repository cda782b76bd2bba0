"""Presigns any S3 operation with a client of aioboto3."""

from collections.abc import Coroutine, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from bulkpresign.aws.errors import botocore_errors
from bulkpresign.errors import SigningError

T = TypeVar("T")

_serialized_headers: ContextVar[dict[str, str]] = ContextVar("serialized_headers")


async def presign(
    client: Any, client_method: str, params: Mapping[str, Any], expires_in: int, http_method: str | None
) -> tuple[str, str, dict[str, str]]:
    """The HTTP method, the url and the headers to send, for one operation of the S3 client.

    Raises SigningError for an operation or a parameter that S3 does not have, and for the body of a request.
    """
    try:
        return await _presign(client, client_method, params, expires_in, http_method)
    except SigningError as error:
        body = _body_of(client, client_method)
        if body is None or not params.get(body):
            raise
        message = f"{client_method}: {body} is the body of the request, which is not in a link: send it with the link"
        raise SigningError(message) from error


async def _presign(
    client: Any, client_method: str, params: Mapping[str, Any], expires_in: int, http_method: str | None
) -> tuple[str, str, dict[str, str]]:
    with botocore_errors(_customer_keys(params)):
        # In upper case, as it is sent: one of botocore's signers signs it as it is given.
        given = http_method.upper() if http_method else None
        url = await client.generate_presigned_url(client_method, dict(params), expires_in, given)
        method = given or _http_method(client, client_method)
    return method.upper(), url, _signed_headers(url, _serialized_headers.get())


def run_without_waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that never waits, outside any event loop. Raises SigningError for one that does wait.

    aiobotocore presigns in coroutines, but with fixed credentials none of their steps waits.
    """
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise SigningError("links for this bucket can't be signed in batches: botocore sends a request first; use presign")


def keep_serialized_headers(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Stores the headers that botocore makes of an operation's parameters; botocore returns only the url.

    An event handler. It runs after botocore's own handlers, which encode metadata and add the md5 of customer keys.
    """
    from botocore.serialize import create_serializer

    request = create_serializer(model.metadata["protocol"]).serialize_to_request(params, model)
    _serialized_headers.set({name: str(value) for name, value in request["headers"].items()})


def _signed_headers(url: str, headers: Mapping[str, str]) -> dict[str, str]:
    query = parse_qs(urlsplit(url).query)
    names = set(query["X-Amz-SignedHeaders"][0].split(";")) - {"host"}
    signed = {name: value for name, value in headers.items() if name.lower() in names}
    if missing := names - {name.lower() for name in signed}:
        raise SigningError(f"the link signs headers of unknown value: {', '.join(sorted(missing))}")
    return signed


def _http_method(client: Any, client_method: str) -> str:
    return str(_operation(client, client_method).http["method"])


def _body_of(client: Any, client_method: str) -> str | None:
    """The parameter that is the body of an operation's request, None if it has none."""
    if client_method not in client.meta.method_to_api_mapping:
        return None
    shape = _operation(client, client_method).input_shape
    body: str | None = shape and shape.serialization.get("payload")
    return body


def _operation(client: Any, client_method: str) -> Any:
    return client.meta.service_model.operation_model(client.meta.method_to_api_mapping[client_method])


def _customer_keys(params: Mapping[str, Any]) -> list[str]:
    """The secrets in an operation's parameters, as a message of botocore would show them."""
    return [str(value) for name, value in params.items() if name.endswith("SSECustomerKey") and value]
