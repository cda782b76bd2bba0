"""Every exception that leaves this package.

    BulkpresignError
    ├── InputError               what was given can't be used; nothing was sent
    │   ├── ParameterError       an argument or an option
    │   ├── ManifestError        a row of a table: knows file, line and column
    │   ├── NameRefusedError     a path that must not, or can't, be a file below the folder
    │   ├── CredentialsError     none, incomplete, lapsed
    │   ├── SigningError         an operation that can't be presigned, or not with these parameters
    │   ├── RegionError          a bucket whose region is not known, or can't be found
    │   ├── ListingError         a bucket that can't be listed
    │   └── JournalError         a journal that is damaged, in use, or another run's
    ├── OutputError              a result that can't be written: disk full, closed pipe, no permission
    ├── BreakerError             everything failed the same way, or could not be recorded, so the run was ended
    ├── DaemonError              the demo's server doesn't start
    │   └── DaemonEndedError     ... because its program ended, as it does where a port is taken
    └── TransferError            why one request failed; says of itself what helps (`retry`, `retry_after`)
        ├── LinkExpiredError     the link's time is over                       fresh_link
        ├── ThrottledError       429, 503: slower                              same_link, retry_after
        ├── ServerError          500, 502, 504, 408: the server's own trouble  same_link
        ├── ConnectionFailedError  refused, reset, no such host, timeout       same_link
        ├── TruncatedError       fewer or more bytes than announced            same_link
        ├── MismatchError        bytes that differ from etag or size           same_link
        ├── RefusedError         any other answer: denied, not found, wrong signature   never
        └── StorageError         the file system refused                       never

A failed object is data (`model.Outcome`), so no TransferError leaves the engine unless a caller asks for one object.
Messages name the operation and the object. They never hold a signature, a token or a secret.
"""

from typing import ClassVar, Literal

from bulkpresign.redact import redacted, without_secrets

Retry = Literal["never", "same_link", "fresh_link"]


class BulkpresignError(Exception):
    """Base of everything that this package raises."""


class InputError(BulkpresignError):
    """What was given can't be used. Raised before anything is sent."""


class ParameterError(InputError, ValueError):
    """An argument or option that can't be, such as an expiry of eight days."""


class ManifestError(InputError):
    """A table, or a row of it, that can't be used.

    `file` as it was given, `line` from 1 (None: the file as a whole), `column` by name (None: the row as a whole).
    Queries are hidden in the problem and the column: a cell that is quoted may be a link in the wrong column.
    """

    def __init__(self, problem: str, *, file: str, line: int | None = None, column: str | None = None) -> None:
        problem, column = redacted(problem), None if column is None else redacted(column)
        self.problem, self.file, self.line, self.column = problem, file, line, column
        place = file if line is None else f"{file}:{line}"
        super().__init__(f"{place}: {problem}" if column is None else f"{place}: column {column}: {problem}")


class NameRefusedError(InputError):
    """A path that must not be, or can't be, the name of a file below the folder."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"path {path!r} is refused: {why}")


class CredentialsError(InputError):
    """No credentials, incomplete ones, or ones that have lapsed."""


class SigningError(InputError):
    """An operation that can't be presigned, or not with these parameters."""


class RegionError(InputError):
    """A bucket's region under `auto` that is not known yet, where nothing waits for it, or that can't be found."""


class ListingError(InputError):
    """A bucket or folder that can't be listed."""


class JournalError(InputError):
    """A journal that can't be used: damaged, in use, a newer version's, or another verb's or destination's."""


class OutputError(BulkpresignError):
    """A result can't be written: disk full, no permission, closed pipe."""


class BreakerError(BulkpresignError):
    """Everything failed the same way, or nothing could be recorded, so the run ended; the rest of it is not done."""


class DaemonError(BulkpresignError):
    """A server of our own that never was ready. The message ends with the last lines of its log."""


class DaemonEndedError(DaemonError):
    """A server of our own that ended at its start, as it does where a port is taken."""


class TransferError(BulkpresignError):
    """Why one request failed.

    `code` is S3's own word where the answer had one (`NoSuchKey`), else ours (`Truncated`). `retry` tells what helps;
    `retry_after` is the pause in seconds that the server asked for; `attempt` is the one that failed, from 1. The
    message is shown and stored, so that values which it names as secrets are hidden.
    """

    retry: ClassVar[Retry] = "never"

    def __init__(self, message: str, *, code: str, status: int | None = None, retry_after: float | None = None) -> None:
        self.code, self.status, self.retry_after = code, status, retry_after
        self.attempt = 1
        super().__init__(without_secrets(message))


class LinkExpiredError(TransferError):
    """The link's time is over, or its credentials' time is. Only a fresh link helps.

    `has_served` is True where it brought something of the object to stay before it ended.
    """

    retry = "fresh_link"
    has_served = False


class ThrottledError(TransferError):
    """The server asks for a slower pace (429, 503 SlowDown)."""

    retry = "same_link"


class ServerError(TransferError):
    """The server failed (5xx, 408), which may pass."""

    retry = "same_link"


class ConnectionFailedError(TransferError):
    """No connection, or one that broke or fell silent."""

    retry = "same_link"


class TruncatedError(TransferError):
    """The body was shorter or longer than announced."""

    retry = "same_link"


class MismatchError(TransferError):
    """The bytes that arrived are not the object's: etag or size differ."""

    retry = "same_link"


class RefusedError(TransferError):
    """An answer that asking again won't change: denied, not found, wrong signature, archived."""


class StorageError(TransferError):
    """The local file system refused: disk full, no permission, file vanished."""
