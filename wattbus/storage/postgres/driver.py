"""The driver, asyncpg: how a connection is made, and COPY, which SQLAlchemy has no word for."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy.ext.asyncio import AsyncConnection

from wattbus.errors import ConfigError, WattbusError
from wattbus.storage.errors import BatchRefused, DatabaseAway, first_line, of_code

CONNECT_S = 10.0
# A peer that vanished without a word is noticed after half a minute, also while a long statement is waited for.
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds, seconds, probes


class RowIsThere(WattbusError):  # noqa: N818
    """One of the rows has the key of another; none of them was copied."""


async def connect(url: str, answer_s: float | None, session: Mapping[str, str]) -> asyncpg.Connection:
    """A connection with these settings for its session; those that the server does not know are left out.

    A statement that is not answered within `answer_s` raises TimeoutError. Raises ConfigError when the URL cannot be
    used, and what the driver raises when the server cannot be reached.
    """
    name = {} if "application_name=" in url else {"application_name": "wattbus"}
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_S, command_timeout=answer_s, server_settings=name)
    except ssl.SSLError:  # is a ValueError too, when a certificate is not the right one
        raise
    except ValueError as error:  # what the URL's check did not see
        raise ConfigError(_fault(error)) from None
    _keep_alive(connection)
    try:
        await connection.execute(_settings(session))
    except BaseException:
        connection.terminate()
        raise
    return connection


def _keep_alive(connection: asyncpg.Connection) -> None:
    """The driver has no option for it; where its transport or the system is another one, it stays as it is."""
    transport = getattr(connection, "_transport", None)
    there = transport.get_extra_info("socket") if transport is not None else None
    if there is None or there.family not in (socket.AF_INET, socket.AF_INET6):
        return
    there.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            there.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _settings(session: Mapping[str, str]) -> str:
    wanted = ", ".join(f"('{name}', '{value}')" for name, value in session.items())
    return (
        f"SELECT set_config(known.name, wanted.value, false) FROM (VALUES {wanted}) AS wanted (name, value)"
        " JOIN pg_settings AS known ON known.name = wanted.name"
    )


def _fault(error: ValueError) -> str:
    """Other messages than the driver's own may hold a piece of the URL, and so of the password."""
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        return f"DATABASE_URL: {error}"
    return "DATABASE_URL: the driver cannot read it; in user and password / : @ # are written as %2F %3A %40 %23"


async def copy(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Copy rows into a table, in the transaction that a statement on this connection has begun.

    Raises RowIsThere, BatchRefused, DatabaseAway.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():
        raise RuntimeError("COPY outside of a transaction")
    try:
        await driver.copy_records_to_table(table, columns=columns, records=rows)
    except asyncpg.UniqueViolationError as error:
        raise RowIsThere(first_line(error)) from error
    except asyncpg.PostgresError as error:
        if (plain := of_code(error.sqlstate)) is None:
            raise
        raise plain(first_line(error)) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        unfit = isinstance(error, ValueError)  # its own way to say that a value is none of the column's
        raise (BatchRefused if unfit else DatabaseAway)(first_line(error)) from error
