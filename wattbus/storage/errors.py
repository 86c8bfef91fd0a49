"""What a database can say no with, whichever it is.

Three cases. It does not work now: `DatabaseAway`, trying again may help. It will never take one of the rows:
`BatchRefused`. Anything else is a bug of ours (a statement that makes no sense, a parameter that no column has): it is
let through as it is, so that whoever writes can say so and go on with the rest. While a database is opened there are no
bugs of ours: what is not understood there (a table of another program in the way) is a database that does not work.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from sqlalchemy import exc

from wattbus.errors import WattbusError

# Classes of PostgreSQL's error codes (manual, appendix A) that speak of the data itself: cardinality, data, constraint,
# a limit of the program (a key too long for an index).
_NEVER_FITS = ("21", "22", "23", "54")
# Tables or columns that are not there: somebody else has changed the schema.
_NOT_OUR_SCHEMA = ("42P01", "42703", "3F000")
# Other errors of class 42 are statements that make no sense; but for the right to do it.
_OUR_BUG, _NO_RIGHT = "42", "42501"
# Primary result codes of SQLite (sqlite.org/rescode.html): a generic error (a statement that makes no sense), misuse of
# its interface, a parameter that is out of range.
_SQLITE_BUG = {1, 21, 25}
_NOT_OUR_SQLITE_SCHEMA = ("no such table", "no such column", "no such index")


class DatabaseAway(WattbusError):  # noqa: N818 - a state of the world, as LinkDown
    """Away, locked, full, read-only or broken: nothing of the transaction was kept, trying again may help."""


class DatabaseChanged(DatabaseAway):
    """It is not the database that was opened, or not its schema: whoever has it open has to open it again."""


class BatchRefused(WattbusError):  # noqa: N818
    """The database will never take one of the rows; nothing of the transaction was kept."""


@contextlib.contextmanager
def plain_errors(*, opening: bool = False) -> Iterator[None]:
    """Turn what drivers raise into the cases that a caller can do something about. `opening`: see above."""
    try:
        yield
    except (exc.IntegrityError, exc.DataError, OverflowError, UnicodeError) as error:
        raise BatchRefused(first_line(error)) from error
    except exc.DBAPIError as error:
        plain = _of_driver(error)
        if plain is None and not opening:
            raise
        raise (plain or DatabaseAway)(first_line(error)) from error
    except (exc.TimeoutError, exc.PendingRollbackError, exc.ResourceClosedError, OSError) as error:
        raise DatabaseAway(first_line(error)) from error


def _of_driver(error: exc.DBAPIError) -> type[DatabaseAway | BatchRefused] | None:
    """By PostgreSQL's error code or SQLite's; without one it is the driver's own. None: a bug of ours."""
    code = getattr(error.orig, "sqlstate", None)
    if code is not None:
        return of_code(str(code))
    if isinstance(error.orig, sqlite3.Error):
        return _of_sqlite(error.orig)
    unfit = isinstance(getattr(error.orig, "__cause__", None), ValueError)  # a value is none of the column's
    return BatchRefused if unfit else DatabaseAway


def of_code(code: str | None) -> type[DatabaseAway | BatchRefused] | None:
    """What one of PostgreSQL's error codes means; None: a bug of ours."""
    if code is None:
        return DatabaseAway
    if code.startswith(_NEVER_FITS):
        return BatchRefused
    if code in _NOT_OUR_SCHEMA:
        return DatabaseChanged
    return None if code.startswith(_OUR_BUG) and code != _NO_RIGHT else DatabaseAway


def _of_sqlite(error: sqlite3.Error) -> type[DatabaseAway] | None:
    """The driver has no code for errors of its own: a connection that is closed, or parameters that do not fit."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return DatabaseAway if "closed" in str(error) else None
    if str(error).startswith(_NOT_OUR_SQLITE_SCHEMA):
        return DatabaseChanged
    return None if code & 0xFF in _SQLITE_BUG else DatabaseAway


def first_line(error: BaseException) -> str:
    """What an error says, for people."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, TimeoutError) and not str(cause):
        return "it does not answer"
    return (str(cause) or type(cause).__name__).splitlines()[0]
