"""All exceptions of this package.

    BulkpresignError
    ├── InputError               the input is not valid; no request was sent
    │   ├── ParameterError       an argument or an option
    │   ├── ManifestError        a table or one of its rows; has file, line and column
    │   ├── NameRefusedError     a path that is not allowed as a file below the folder
    │   ├── CredentialsError     credentials are missing, incomplete or expired
    │   ├── SigningError         an operation that can't be presigned, or not with these parameters
    │   ├── RegionError          the region of a bucket is not known, or can't be found
    │   ├── ListingError         a bucket or folder can't be listed
    │   └── JournalError         a journal that is damaged, in use, or of another run
    ├── OutputError              a result can't be written: disk full, closed pipe, no permission
    ├── BreakerError             the run was stopped: all objects failed the same way, or the journal can't be written
    ├── DaemonError              the server of the demo does not start
    │   └── DaemonEndedError     ... because its program ended, for example if its port is in use
    ├── WorkerLostError          a worker process ended in the middle of its work, or stopped answering
    └── TransferError            a request failed; `retry` and `retry_after` tell what helps
        ├── LinkExpiredError     the link has expired                          fresh_link
        ├── ThrottledError       429, 503: a lower rate is needed              same_link, retry_after
        ├── ServerError          500, 502, 504, 408                            same_link
        ├── ConnectionFailedError  refused, reset, no such host, timeout       same_link
        ├── TruncatedError       fewer or more bytes than announced            same_link
        ├── MismatchError        the bytes differ from etag, checksum or size  same_link
        ├── RefusedError         any other response: denied, not found, wrong signature   never
        └── StorageError         the file system refused                       never
            └── OpenFilesError   ... because too many files are open           same_link

A failed object is data (`model.Outcome`), so the engine raises a TransferError only for a single requested object.
Messages name the operation and the object. They never contain a signature, a token or a secret.
"""

from typing import Any, ClassVar, Literal

from bulkpresign.redact import redacted, without_secrets

Retry = Literal["never", "same_link", "fresh_link"]

#: Error codes of a user who may not list a bucket, and of servers without listings.
_NO_LISTINGS = frozenset({"AccessDenied", "HTTP403", "MethodNotAllowed", "HTTP405", "NotImplemented", "HTTP501"})


class BulkpresignError(Exception):
    """Base of all exceptions of this package. They can be pickled and copied, with all that they tell."""

    def __reduce__(self) -> tuple[Any, ...]:
        # By default Python calls the class with the message alone, and most classes here take more than that.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[BulkpresignError], args: tuple[Any, ...], attributes: dict[str, Any]) -> BulkpresignError:
    """The exception of another process: its `__init__` isn't called again."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class InputError(BulkpresignError):
    """The input is not valid. Raised before any request is sent.

    Not each of them is about what a service was asked for: it has CredentialsError and RegionError for reasons of its
    own, and their messages can tell how it gets its credentials.
    """


class ParameterError(InputError, ValueError):
    """An argument or option is not valid, for example an expiry of eight days."""


class ManifestError(InputError):
    """A table, or one of its rows, is not valid.

    `file` is the name as given, `line` starts at 1 (None: the whole file), `column` is a name (None: the whole row).
    Queries are hidden in `problem` and `column`, because a quoted cell may be a link in the wrong column; and in the
    message, because a link without `https://` is taken for a file.
    """

    def __init__(self, problem: str, *, file: str, line: int | None = None, column: str | None = None) -> None:
        problem, column = redacted(problem), None if column is None else redacted(column)
        self.problem, self.file, self.line, self.column = problem, file, line, column
        location = without_secrets(file) if line is None else f"{without_secrets(file)}:{line}"
        super().__init__(f"{location}: {problem}" if column is None else f"{location}: column {column}: {problem}")


class NameRefusedError(InputError):
    """A path is not allowed as the name of a file below the folder."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"path {path!r} is refused: {why}")


class CredentialsError(InputError):
    """Credentials are missing, incomplete or expired."""


class SigningError(InputError):
    """An operation can't be presigned, or not with these parameters."""


class RegionError(InputError):
    """The region of a bucket can't be found, or with region `auto` it is not known yet in a call that never waits."""


class ListingError(InputError):
    """A bucket or folder can't be listed. `code` is that of the server's error, None for any other cause."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        self.code = code
        super().__init__(message)

    @property
    def is_refusal(self) -> bool:
        """True where the user may not list, or the server can't: not for a failure."""
        return self.code in _NO_LISTINGS


class JournalError(InputError):
    """A journal can't be used: it is damaged, in use, or of another version, verb or destination."""


class OutputError(BulkpresignError):
    """A result can't be written: disk full, no permission, closed pipe.

    `file` is its name, None for one that the caller did not name.
    """

    def __init__(self, message: str, *, file: str | None = None) -> None:
        self.file = file
        super().__init__(message)


class BreakerError(BulkpresignError):
    """The run was stopped early: all objects failed the same way, or the journal could not be written."""


class DaemonError(BulkpresignError):
    """A server that we started did not become ready. The message ends with the last lines of its log."""


class DaemonEndedError(DaemonError):
    """A server that we started ended at once, for example because its port is in use."""


class WorkerLostError(BulkpresignError):
    """A worker process ended, or stopped answering. Its work may have been done in part."""


class TransferError(BulkpresignError):
    """One request failed.

    `code` is S3's error code if the response has one (`NoSuchKey`), else ours (`Truncated`). `retry` tells what helps;
    `retry_after` is the delay in seconds that the server asked for; `attempt` is the number of the failed attempt, from
    1. The message is shown and stored, so secrets in it are hidden.
    """

    retry: ClassVar[Retry] = "never"

    def __init__(self, message: str, *, code: str, status: int | None = None, retry_after: float | None = None) -> None:
        self.code, self.status, self.retry_after = code, status, retry_after
        self.attempt = 1
        super().__init__(without_secrets(message))


class LinkExpiredError(TransferError):
    """The link or its credentials have expired. Only a fresh link helps.

    `has_served` is True if the link moved bytes that are kept before it expired.
    """

    retry = "fresh_link"
    has_served = False


class ThrottledError(TransferError):
    """The server asks for a lower rate (429, 503 SlowDown)."""

    retry = "same_link"


class ServerError(TransferError):
    """The server failed (5xx, 408); a retry can help."""

    retry = "same_link"


class ConnectionFailedError(TransferError):
    """There is no connection, or it was closed or timed out.

    `is_outage` is True where no connection can be made to a server that was connected before, and none is left.
    """

    retry = "same_link"
    is_outage = False


class TruncatedError(TransferError):
    """The body was shorter or longer than announced."""

    retry = "same_link"


class MismatchError(TransferError):
    """The received bytes are not the object's: checksum, etag or size differ."""

    retry = "same_link"


class RefusedError(TransferError):
    """The server refused the request, and a retry does not help: denied, not found, wrong signature, archived."""


class StorageError(TransferError):
    """The local file system refused: disk full, no permission, file deleted."""


class OpenFilesError(StorageError):
    """The process, or the system, has as many files open as it may have. It can open one more when others are closed.

    Runs of one process at the same time share its limit, and none of them knows what the others will need.
    """

    retry = "same_link"
