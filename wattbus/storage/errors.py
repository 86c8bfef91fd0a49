"""What a database can say no with, whichever it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import exc

from wattbus.errors import WattbusError

# Classes of PostgreSQL's error codes that speak of the data itself (manual, appendix A): cardinality, data,
# constraint, a limit of the program (a key too long for an index).
_NEVER_FITS = ("21", "22", "23", "54")


class DatabaseAway(WattbusError):  # noqa: N818 - a state of the world, as LinkDown
    """Away, locked, full, read-only or broken: nothing of the transaction was kept, trying again may help."""


class BatchRefused(WattbusError):  # noqa: N818
    """The database will never take one of the rows; nothing of the transaction was kept."""


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what drivers raise into the two cases that a caller can do something about."""
    try:
        yield
    except (exc.IntegrityError, exc.DataError, OverflowError, UnicodeError) as error:
        raise BatchRefused(_first_line(error)) from error
    except exc.DBAPIError as error:
        raise (BatchRefused if _speaks_of_the_data(error) else DatabaseAway)(_first_line(error)) from error
    except (exc.TimeoutError, exc.InvalidRequestError, OSError) as error:
        raise DatabaseAway(_first_line(error)) from error


def _speaks_of_the_data(error: exc.DBAPIError) -> bool:
    """By PostgreSQL's error code; without one it is the driver's own, a ValueError when a value does not fit."""
    code = getattr(error.orig, "sqlstate", None)
    if code is not None:
        return never_fits(str(code))
    return isinstance(getattr(error.orig, "__cause__", None), ValueError)


def never_fits(code: str | None) -> bool:
    """Whether one of PostgreSQL's error codes speaks of the data itself."""
    return code is not None and code.startswith(_NEVER_FITS)


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, TimeoutError) and not str(cause):
        return "it does not answer"
    return (str(cause) or type(cause).__name__).splitlines()[0]
