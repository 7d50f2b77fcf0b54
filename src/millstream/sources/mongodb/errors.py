"""What driver or server said -> which error, with the fix; and what is worth another try."""

from __future__ import annotations

from millstream.common.redact import redact_logins
from millstream.errors import (
    SourceAuthError,
    SourceDataError,
    SourceError,
    SourceNotFoundError,
    SourceUnavailableError,
)

# https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
PASSING = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        43,  # CursorNotFound
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        175,  # QueryPlanKilled
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        234,  # RetryChangeStream
        237,  # CursorKilled
        262,  # ExceededTimeLimit
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13388,  # StaleConfig
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
    }
)
_DENIED = frozenset({13, 31, 8000})  # Unauthorized, RoleNotFound, Atlas
_LOGIN = frozenset({11, 18})  # UserNotFound, AuthenticationFailed
# ChangeStreamFatalError, ChangeStreamHistoryLost, CappedPositionLost, InvalidResumeToken
LOST_TOKEN = frozenset({280, 286, 136, 260})


def passing(error: Exception) -> bool:
    """True where the same read, begun again after the last document, may well succeed."""
    from pymongo import errors

    if isinstance(error, errors.ServerSelectionTimeoutError):
        return "certificate" not in str(error).lower()
    if isinstance(error, errors.OperationFailure):
        return error.code in PASSING or error.has_error_label("ResumableChangeStreamError")
    return isinstance(error, errors.AutoReconnect | errors.WaitQueueTimeoutError)


def lost_token(error: Exception) -> bool:
    """True where the server can't continue a change stream from where the last run stopped."""
    from pymongo.errors import OperationFailure

    return isinstance(error, OperationFailure) and error.code in LOST_TOKEN


def is_unresolved(error: Exception) -> bool:
    """True where no address was found for the host, or no hosts for a mongodb+srv:// name."""
    if type(error.__cause__).__module__.split(".")[0] == "dns":
        return True
    said = str(error)
    # as Linux, macOS, musl and Windows say it
    return any(
        each in said
        for each in (
            "Name or service not known",
            "No address associated with hostname",
            "Temporary failure in name resolution",
            "nodename nor servname provided",
            "Name does not resolve",
            "getaddrinfo failed",
        )
    )


def explain(error: Exception, what: str) -> SourceError:
    """The error to raise for what the driver raised while reading `what`.

    Args:
        what: for people: `the MongoDB server`, `collection shop.orders`.
    """
    from bson.errors import BSONError
    from pymongo import errors

    said = redact_logins(str(getattr(error, "_message", None) or error))
    if isinstance(error, errors.OperationFailure):
        details = error.details or {}
        said = redact_logins(str(details.get("errmsg") or said))
        if error.code in _LOGIN:
            return SourceAuthError(
                f"{what} refuses the user name or password: {said}",
                hint="check both in the connection string, and `authSource`, the database that "
                "holds the user (often admin)",
            )
        if error.code in _DENIED:
            return SourceAuthError(
                f"{what}: not allowed to read: {said}",
                hint="grant the user the role `read` on the database; change streams need the "
                "actions `find` and `changeStream`",
            )
        if error.code == 26:
            return SourceNotFoundError(f"{what} does not exist: {said}")
        if error.code in PASSING:
            return SourceUnavailableError(f"{what}: still failing after retries: {said}")
        if error.code in {292, 16819}:
            return SourceError(
                f"{what}: the server can't sort within its memory: {said}",
                hint="create an index on the cursor field",
            )
        if error.code == 40573:
            return SourceError(
                f"{what}: change streams need a replica set",
                hint="turn the server into a replica set of one, or load by `cursor` instead",
            )
        return SourceError(f"{what}: the server refused (code {error.code}): {said}")
    if is_unresolved(error):
        return SourceUnavailableError(
            f"{what} can't be found: its host name has no address: {_first(said)}",
            hint="check the host name in the connection string, and whether this machine's DNS "
            "knows it (a private name needs a VPN or the DNS of its network)",
        )
    if isinstance(error, errors.ConfigurationError | errors.InvalidName):
        if "ssl" in said.lower() or "tls" in said.lower() or "cert" in said.lower():
            return SourceUnavailableError(f"{what}: TLS is not set up: {said}", hint=_TLS)
        return SourceError(f"{what}: the connection string is wrong: {said}")
    lower = said.lower()
    if "certificate" in lower or "ssl" in lower or "tls" in lower:
        return SourceUnavailableError(f"{what}: the TLS connection failed: {said}", hint=_TLS)
    if isinstance(error, BSONError):
        return SourceDataError(f"{what}: a document is not valid BSON: {said}")
    if isinstance(error, errors.PyMongoError | OSError):
        return SourceUnavailableError(
            f"{what} can't be reached: {_first(said)}",
            hint="is it running, is the address in the connection string right, and does a "
            "firewall or an IP access list let this machine in?",
        )
    return SourceError(f"{what}: {type(error).__name__}: {said}")


_TLS = (
    "give the authority's certificate with `tlsCAFile=/path/ca.pem` in the connection string, and "
    "a client certificate with `tlsCertificateKeyFile=` where the server asks for one; `tls=true` "
    "must match what the server speaks"
)


def _first(said: str) -> str:
    # pymongo appends the timeout and a dump of the topology
    return said.split(" (configured timeouts", 1)[0].split(", Timeout:", 1)[0]
