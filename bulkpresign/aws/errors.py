"""Translates the exceptions of botocore into ours."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from bulkpresign.errors import BulkpresignError, CredentialsError, InputError, ListingError, SigningError
from bulkpresign.redact import redacted


@contextmanager
def botocore_errors(secrets: Sequence[str] = ()) -> Iterator[None]:
    """Raises CredentialsError or SigningError for an exception of botocore; `secrets` are hidden in the message."""
    from botocore import exceptions as boto

    try:
        yield
    except BulkpresignError:
        raise
    except (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.ProfileNotFound,
        boto.SSOError,
        boto.TokenRetrievalError,
        boto.ConfigParseError,
        boto.InvalidConfigError,
        boto.ConfigNotFound,
        boto.MetadataRetrievalError,
        boto.InfiniteLoopConfigError,
    ) as error:
        raise CredentialsError(redacted(str(error).strip())) from error  # a program's message ends with a line end
    except boto.ClientError as error:  # only fetching credentials sends requests here
        raise CredentialsError(f"credentials were refused: {redacted(str(error))}") from error
    except (boto.BotoCoreError, ValueError, TypeError) as error:
        message = redacted(str(error))
        for secret in secrets:
            message = message.replace(secret, "***")
        raise SigningError(message) from (None if secrets else error)


@contextmanager
def credentials_errors() -> Iterator[None]:
    """Raises CredentialsError for every failure to fetch credentials: network, file, program, a useless refresh."""
    from botocore.exceptions import BotoCoreError

    try:
        with botocore_errors():
            yield
    except SigningError as error:
        raise CredentialsError(str(error)) from error
    except (BotoCoreError, RuntimeError, OSError, LookupError, AttributeError) as error:
        raise CredentialsError(f"credentials can't be fetched: {redacted(str(error))}") from error


def listing_errors(listed: str) -> AbstractContextManager[None]:
    """Raises ListingError for a listing request that fails. `listed` names the prefix or object for the message."""
    return request_errors(ListingError, f"{listed} can't be listed")


@contextmanager
def request_errors(raised: type[InputError], problem: str) -> Iterator[None]:
    """Raises `raised` for a request that is refused or has no response. The message begins with `problem`."""
    from botocore import exceptions as boto

    try:
        with botocore_errors():
            try:
                yield
            except (boto.ClientError, boto.HTTPClientError, boto.ConnectionError, SyntaxError) as error:
                raise raised(f"{problem}: {redacted(str(error))}") from error
    except SigningError as error:
        raise raised(f"{problem}: {error}") from error
