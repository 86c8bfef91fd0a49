"""`DATABASE_URL` of a PostgreSQL: what is accepted, and what is said about the rest without telling the password."""

from __future__ import annotations

import pytest

from wattbus.errors import ConfigError
from wattbus.storage import check_url
from wattbus.storage.postgres.address import driver_url


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgresql://u:p@host:5433/name", "postgresql://u:p@host:5433/name"),
        ("postgres://u:p@host/name", "postgresql://u:p@host/name"),
        ("postgresql+asyncpg://u:p@host/name", "postgresql://u:p@host/name"),
        ("timescaledb://u:p@host/name", "postgresql://u:p@host/name"),
        ("postgresql://u@host/name", "postgresql://u@host/name"),
        ("postgresql://host/name", "postgresql://host/name"),
        ("postgresql://u:p%40ss%2Fw%C3%B6rd@host/name", "postgresql://u:p%40ss%2Fw%C3%B6rd@host/name"),
        ("postgresql://u:p@ss@host/name", "postgresql://u:p%40ss@host/name"),  # forgotten, but clear
        ("postgresql://u:a:b@host/name", "postgresql://u:a%3Ab@host/name"),
        ("postgresql://u:p@[::1]:5432/name", "postgresql://u:p@[::1]:5432/name"),
        ("postgresql://u:p@[::1]/name", "postgresql://u:p@[::1]/name"),
        ("postgresql://u:p@one:5432,two:5433/name", "postgresql://u:p@one:5432,two:5433/name"),
        ("postgresql:///name?host=/run/postgresql", "postgresql:///name?host=%2Frun%2Fpostgresql"),
        ("postgresql://u@h/n?ssl=require", "postgresql://u@h/n?sslmode=require"),
        ("postgresql://u@h/n?ssl=true", "postgresql://u@h/n?sslmode=require"),
        ("postgresql://u@h/n?ssl=false", "postgresql://u@h/n?sslmode=disable"),
        (
            "postgresql://u@h/n?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgresql://u@h/n?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
        ),
        ("postgresql://u@h/n?target_session_attrs=read-write", "postgresql://u@h/n?target_session_attrs=read-write"),
    ],
)
def test_what_people_write_becomes_what_the_driver_reads(given: str, read: str) -> None:
    check_url(given)
    assert driver_url(given) == read


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("postgresql://u:geheim@host", "names no database"),
        ("postgresql://u:geheim@host/", "names no database"),
        ("postgresql://u:ge/heim@host/name", "%2F"),
        ("postgresql://u:ge#heim@host/name", "%23"),
        ("postgresql://u:geheim@host:geheim/name", "the port is not a number"),
        ("postgresql://u:geheim@host:70000/name", "the port is not a number"),
        ("postgresql://u:geheim@host/name?geheim=1", "unknown parameter"),
        ("postgresql://u:geheim@host/name?sslmode=geheim", "verify-full"),
        ("postgresql://u:geheim@host/name?geheim", "not a URL"),
        ("postgresql://u:geheim@[host/name", "not a URL"),
        ("postgresql:geheim", "not a URL"),
        ("mysql://u:geheim@host/name", "mysql is not supported"),
    ],
)
def test_what_cannot_be_meant_is_said_without_the_password(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^DATABASE_URL: ") as refused:
        check_url(given)
    assert said in str(refused.value)
    for part in ("geheim", "heim"):
        assert part not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__
