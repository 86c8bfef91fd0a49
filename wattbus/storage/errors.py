"""What a database can say no with, whichever it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import exc

from wattbus.errors import WattbusError


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
    except (exc.DBAPIError, exc.TimeoutError, exc.InvalidRequestError, OSError) as error:
        raise DatabaseAway(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    return (str(cause) or type(cause).__name__).splitlines()[0]
