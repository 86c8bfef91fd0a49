"""A PostgreSQL that is away, restarts, crashes, is full, locked or silent: it costs time, not data."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PASSWORD, PASSWORD_IN_URL, PostgresServer, find_binaries
from tests.wattbus.storage.series import NOW, opened, raw_records, reading, values_of, write
from wattbus.errors import ConfigError
from wattbus.storage import BatchRefused, DatabaseAway, Store, Written, open_raw_reader, open_raw_store, open_store
from wattbus.storage.postgres import engine
from wattbus.storage.postgres.driver import connect
from wattbus.testing.waiting import PATIENCE_S

DURABLE = {"fsync": "on", "full_page_writes": "on", "wal_writer_delay": "10s"}


@pytest.fixture
def database_url(postgres_copy: str) -> str:
    return postgres_copy


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """One that tests may stop; it flushes what it commits."""
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    server = PostgresServer(DURABLE)
    server.start()
    yield server
    server.remove()


@contextlib.asynccontextmanager
async def beside(server: PostgresServer, url: str, *statements: str) -> AsyncIterator[None]:
    """Somebody else who does this in a transaction and keeps it open."""
    asyncpg = pytest.importorskip("asyncpg")
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    for statement in statements:
        await connection.execute(statement)
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


# -- the server goes away ---------------------------------------------------------------------------------------------


async def test_a_restarted_server_is_found_again(own_server: PostgresServer) -> None:
    url = own_server.new_database()
    async with opened(open_store(url)) as store, opened(open_raw_store(url)) as raw_store:
        await write(store, reading(NOW, a=1))
        await raw_store.write(raw_records(NOW, 1))
        own_server.stop()
        for _ in range(2):
            with pytest.raises(DatabaseAway):
                await write(store, reading(NOW + 1, a=2))
            with pytest.raises(DatabaseAway):
                await store.datapoints()
            with pytest.raises(DatabaseAway):
                await raw_store.write(raw_records(NOW, 2))
        with pytest.raises(DatabaseAway):
            await open_store(url)
        with pytest.raises(DatabaseAway):
            await open_raw_reader(url)
        own_server.start()
        assert len(await store.datapoints()) == 1
        assert await write(store, reading(NOW, a=1), reading(NOW + 1, a=2)) == Written(rows=1, redelivered=1)
        assert await raw_store.write(raw_records(NOW, 2)) == Written(rows=1, redelivered=1)


async def test_a_restart_between_two_reads_is_not_even_noticed(own_server: PostgresServer) -> None:
    async with opened(open_store(own_server.new_database())) as store:
        await write(store, reading(NOW, a=1))
        assert await values_of(store, "a") == [(0, 1)]
        own_server.stop()
        own_server.start()
        assert await values_of(store, "a") == [(0, 1)]


async def test_what_was_confirmed_is_there_after_a_crash_also_when_the_server_would_not_flush(
    own_server: PostgresServer,
) -> None:
    url = own_server.new_database()
    own_server.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    async with opened(open_store(url)) as store:
        confirmed: list[int] = []
        crashing = asyncio.get_running_loop().call_later(0.3, own_server.crash)
        with pytest.raises(DatabaseAway):
            for n in range(100_000):
                await write(store, *(reading(NOW + n * 10 + m, a=n) for m in range(10)))
                confirmed.append(n)
        crashing.cancel()
        own_server.start()
        there = [offset for offset, _ in await values_of(store, "a")]
        assert len(confirmed) > 3
        assert there[: len(confirmed) * 10] == list(range(len(confirmed) * 10))
        assert len(there) in (len(confirmed) * 10, len(confirmed) * 10 + 10)  # the last commit was not heard of


async def test_a_connection_that_is_cut_in_the_middle_of_a_transaction(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with opened(open_store(database_url, busy_s=30)) as store:
        await write(store, reading(NOW, a=1))
        async with beside(postgres_server, database_url, "LOCK TABLE history"):
            writing = asyncio.create_task(write(store, reading(NOW + 1, a=2, new=1)))
            await until(
                postgres_server,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                f" AND datname = '{database_url.rpartition('/')[2]}'",
                "1",
            )
            with pytest.raises(DatabaseAway):
                await writing
        assert await write(store, reading(NOW, a=1), reading(NOW + 1, a=2, new=1)) == Written(rows=2, redelivered=1)
        assert len(await store.datapoints()) == 2


async def until(server: PostgresServer, query: str, answer: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while server.execute(query) != answer:
            await asyncio.sleep(0.02)


# -- the network goes away --------------------------------------------------------------------------------------------


class Network:
    """Between a client and the server; it can swallow everything without a word."""

    def __init__(self, server: PostgresServer) -> None:
        self.silent = asyncio.Event()
        self._server = server
        self._pipes: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Network:
        self._listener = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for pipe in self._pipes:
            pipe.cancel()

    def url(self, url: str) -> str:
        port = self._listener.sockets[0].getsockname()[1]
        return url.replace(f":{self._server.port}/", f":{port}/")

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent.is_set():
            return
        there = await asyncio.open_connection(self._server.host, self._server.port)
        for source, target in ((reader, there[1]), (there[0], writer)):
            self._pipes.add(asyncio.create_task(self._pipe(source, target)))

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while part := await source.read(65_536):
            if not self.silent.is_set():
                target.write(part)
        target.close()


async def test_a_network_that_swallows_everything_is_noticed(
    postgres_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ANSWER_S", 0.5)
    monkeypatch.setattr(engine, "WRITE_ANSWER_S", 0.5)
    monkeypatch.setattr("wattbus.storage.postgres.driver.CONNECT_S", 0.5)
    async with Network(postgres_server) as network, opened(open_store(network.url(database_url))) as store:
        await write(store, reading(NOW, a=1))
        await store.datapoints()
        network.silent.set()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(DatabaseAway, match="does not answer"):
                await write(store, reading(NOW + 1, a=2))
            with pytest.raises(DatabaseAway, match="does not answer"):
                await write(store, reading(NOW + 1, a=2))
            with pytest.raises(DatabaseAway):
                await store.datapoints()
        network.silent.clear()
        assert (await write(store, reading(NOW, a=1), reading(NOW + 1, a=2))).rows <= 1
        assert await values_of(store, "a") == [(0, 1), (1, 2)]


async def test_a_peer_that_vanished_is_noticed_by_the_system(
    postgres_server: PostgresServer, database_url: str
) -> None:
    connection = await connect(database_url, None, {"jit": "off"})
    there = connection._transport.get_extra_info("socket")
    assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert there.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
    await connection.close()


async def test_a_service_that_ends_does_not_wait_for_a_silent_server(
    postgres_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PUBLISH_OFFLINE_S", 0.2)
    async with Network(postgres_server) as network, opened(open_store(network.url(database_url))) as store:
        await write(store, reading(NOW, a=1))
        network.silent.set()
        writing = asyncio.create_task(write(store, reading(NOW + 1, a=2)))
        await asyncio.sleep(0.05)
        writing.cancel()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(asyncio.CancelledError):
                await writing
            await store.close()


# -- it says no -------------------------------------------------------------------------------------------------------


async def test_a_locked_table_is_away_and_works_again_afterwards(
    postgres_server: PostgresServer, store: Store, database_url: str
) -> None:
    await write(store, reading(NOW, a=1))
    async with beside(postgres_server, database_url, "LOCK TABLE history IN SHARE MODE"):
        with pytest.raises(DatabaseAway, match="lock timeout"):
            await write(store, reading(NOW + 1, a=2, new=1))
        assert await values_of(store, "a") == [(0, 1)]  # reading goes on
    assert await write(store, reading(NOW + 1, a=2, new=1)) == Written(rows=2)


AWAY = ["53100", "53200", "53300", "40001", "40P01", "55P03", "57014", "57P01", "25006", "42501", "58030", "XX000"]
NEVER = ["22003", "22021", "23514", "54000"]


@pytest.mark.parametrize("code", AWAY + NEVER)
async def test_every_no_keeps_nothing_of_the_batch_and_the_next_one_works(
    postgres_server: PostgresServer, store: Store, database_url: str, code: str
) -> None:
    """The server's own codes (manual, appendix A), raised by a trigger: 53100 is what it says when the disk is full."""
    await write(store, reading(NOW, a=1))
    postgres_server.execute(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'says no' USING ERRCODE = '{code}'; END $$;"
        "CREATE TRIGGER no BEFORE INSERT ON history FOR EACH STATEMENT EXECUTE FUNCTION no();",
        database_url,
    )
    for _ in range(2):
        with pytest.raises(DatabaseAway if code in AWAY else BatchRefused, match=r"^says no$"):
            await write(store, reading(NOW, a=1), reading(NOW + 1, a=2, new=1))
    postgres_server.execute("DROP TRIGGER no ON history", database_url)
    assert len(await store.datapoints()) == 1
    assert await write(store, reading(NOW, a=1), reading(NOW + 1, a=2, new=1)) == Written(rows=2, redelivered=1)


async def test_a_server_that_only_reads_is_away(postgres_server: PostgresServer, database_url: str) -> None:
    """As a standby is, or one whose administrator has stopped writing."""
    async with opened(open_store(database_url)) as store:
        await write(store, reading(NOW, a=1))
    name = database_url.rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with opened(open_store(database_url)) as store:
        with pytest.raises(DatabaseAway, match="read-only"):
            await write(store, reading(NOW + 1, a=2))
        assert await values_of(store, "a") == [(0, 1)]


async def test_no_connection_left_no_right_no_database_and_a_wrong_password_are_told_without_it(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Of a database that nobody has opened yet."""
    name = postgres_url.rpartition("/")[2]
    postgres_server.execute("CREATE ROLE one LOGIN PASSWORD 'geheim' CONNECTION LIMIT 0")
    postgres_server.execute("CREATE ROLE stranger LOGIN PASSWORD 'geheim'")
    for url, said in {
        postgres_server.url(name, "one", "geheim"): "too many connections",
        postgres_server.url(name, "stranger", "geheim"): "permission denied for schema public",
        postgres_server.url("nowhere"): '"nowhere" does not exist',
        postgres_server.url(name, "stranger", "falsch"): "password authentication failed",
        postgres_server.url(name).replace(str(postgres_server.port), "1"): "connect call failed",
        postgres_server.url(name).replace("127.0.0.1", "no-such-host.invalid"): "",
    }.items():
        with pytest.raises(DatabaseAway) as away:
            await open_store(url)
        assert said in str(away.value).lower() or said in str(away.value)
        for secret in ("geheim", "falsch", PASSWORD, PASSWORD_IN_URL):
            assert secret not in str(away.value)
    postgres_server.execute("DROP ROLE one; DROP ROLE stranger")


# -- other ways to it -------------------------------------------------------------------------------------------------


async def test_a_socket_and_a_second_host_are_found(own_server: PostgresServer) -> None:
    url = own_server.new_database()
    name, port = url.rpartition("/")[2], own_server.port
    socket_url = f"postgresql://wattbus@/{name}?host={own_server.socket_directory}&port={port}"
    two = url.replace(f"127.0.0.1:{port}", f"127.0.0.1:1,127.0.0.1:{port}") + "?target_session_attrs=read-write"
    for other in (socket_url, two):
        async with opened(open_store(other)) as store:
            await write(store, reading(NOW, a=1))
            assert await values_of(store, "a") == [(0, 1)]


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed one for 127.0.0.1, and its key."""
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=wattbus", "-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


async def test_the_url_asks_for_tls(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    server = PostgresServer({"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"})
    server.add_files({"server.crt": certificate[0].read_text(), "server.key": certificate[1].read_text()})
    server.start()
    try:
        url = server.new_database()
        for query in ("?ssl=require", "?sslmode=require", f"?sslmode=verify-full&sslrootcert={certificate[0]}"):
            async with opened(open_store(url + query)) as store:
                await write(store, reading(NOW, a=1))
                sessions = "pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'wattbus'"
                assert server.execute(f"SELECT bool_and(ssl) FROM {sessions}") == "t"
        with pytest.raises(DatabaseAway, match="CERTIFICATE_VERIFY_FAILED"):
            await open_store(f"{url}?sslmode=verify-full&sslrootcert={other_root(tmp_path)}")
        with pytest.raises((ConfigError, DatabaseAway), match=r"nowhere\.pem|No such file"):
            await open_store(f"{url}?sslmode=verify-full&sslrootcert={tmp_path}/nowhere.pem")
    finally:
        server.remove()


def other_root(folder: Path) -> Path:
    file = folder / "other.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=other", "-out", file,
         "-keyout", folder / "other.key"],
        check=True, capture_output=True,
    )  # fmt: skip
    return file
