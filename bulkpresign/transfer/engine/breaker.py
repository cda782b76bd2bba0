"""Ends a run in which everything fails the same way."""

from bulkpresign.errors import BreakerError
from bulkpresign.model import Outcome

#: So many failures in a row, all for one cause and with no success between them, end a run.
BREAKER_FAILURES = 50
#: Causes that lie in the run and not in its objects.
COMMON_CAUSES = frozenset(
    {
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "Certificate",
        "DiskFull",
        "ExpiredToken",
        "Internal",
        "InvalidAccessKeyId",
        "InvalidToken",
        "NoConnection",
        "NoSuchBucket",
        "NoSuchHost",
        "PermanentRedirect",
        "PermissionError",
        "RenewalFailed",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)

#: Causes that no other object can escape: the first failure ends the run.
FATAL_CAUSES = frozenset({"Proxy"})


class CircuitBreaker:
    """Ends a run in which everything fails the same way, instead of grinding through ten million errors."""

    def __init__(self, failures: int = BREAKER_FAILURES) -> None:
        self._most = failures
        self._cause: str | None = None
        self._count = 0

    def record(self, outcome: Outcome) -> None:
        """Counts an outcome. Raises BreakerError when the last failures were all alike and nothing went well."""
        cause = outcome.code if outcome.status in {"failed", "expired"} else None
        if cause in FATAL_CAUSES:
            raise BreakerError(f"{outcome.message}, so the run ends")
        if cause not in COMMON_CAUSES:
            self._cause, self._count = None, 0
            return
        self._count = self._count + 1 if cause == self._cause else 1
        self._cause = cause
        if self._count >= self._most:
            raise BreakerError(f"stopped: the last {self._count} objects all failed with {cause}: {outcome.message}")
