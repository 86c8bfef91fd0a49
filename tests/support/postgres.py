"""A PostgreSQL of the tests' own: real binaries, its own data in a folder that vanishes, on a free port.

One cluster serves a whole test run. In a conftest:

    from tests.support.postgres import postgres_server, postgres_url  # noqa: F401

`postgres_url` is the URL of a new, empty database that is dropped after the test; `postgres_server` is the cluster
itself, which stays up for the others. A test that stops, crashes or reconfigures a server starts one of its own:
`PostgresServer()`, also with settings (`PostgresServer({"fsync": "on"})`).
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.ports import free_port
from tests.support.run_notes import FOLDER
from wattbus.testing.waiting import PATIENCE_S

USER = "wattbus"
PASSWORD = "p@ss/wörd"  # one that has to be escaped in a URL, so that everybody does it
PASSWORD_IN_URL = "p%40ss%2Fw%C3%B6rd"
SOON_S = PATIENCE_S

# What makes a cluster quick that nobody will miss.
QUICK = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


def find_binaries() -> Path | None:
    """The folder with initdb and postgres of the newest version that is installed, also where PATH does not look."""
    places = [Path(found).resolve().parent] if (found := shutil.which("initdb")) else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(debian, key=lambda place: int(place.parent.name.partition(".")[0] or 0), reverse=True)
    places += [Path(place) for place in ("/usr/local/pgsql/bin", "/usr/local/bin", "/opt/homebrew/bin")]
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


class PostgresServer:
    """A cluster of its own that listens on 127.0.0.1; `wattbus`, with a password, is its superuser."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        binaries = find_binaries()
        if binaries is None:
            raise FileNotFoundError("PostgreSQL is not installed: install the Debian package postgresql")
        self.host = "127.0.0.1"
        self.port = free_port()
        self._binaries = binaries
        self._settings = {**QUICK, **(settings or {})}
        self._directory = Path(tempfile.mkdtemp(prefix="wattbus-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        # PostgreSQL refuses to run as root.
        self._as: dict[str, object] = _other_user() if os.geteuid() == 0 else {}
        if self._as:
            os.chown(self._directory, self._as["user"], self._as["group"])  # type: ignore[arg-type]

    @property
    def data_directory(self) -> Path:
        return self._directory / "data"

    @property
    def socket_directory(self) -> Path:
        """Where its socket lies, for URLs without a host; there no password is asked for."""
        return self._directory

    @property
    def log(self) -> str:
        """What the server has written about itself so far."""
        file = self._directory / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the cluster if there is none yet, start the server, and wait until it takes connections."""
        if not self.data_directory.exists():
            self._make_cluster()
        options = {"listen_addresses": self.host, "port": str(self.port), "unix_socket_directories": self._directory}
        settings = [f"--{name}={value}" for name, value in {**options, **self._settings}.items()]
        # A test run that is killed cannot stop its server: the kernel does it, where util-linux knows how to ask.
        with_parent = [setpriv, "--pdeathsig", "INT"] if (setpriv := shutil.which("setpriv")) else []
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*with_parent, self._binaries / "postgres", "-D", self.data_directory, *settings],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as,  # type: ignore[call-overload]
            )
        self._wait_until_it_answers()

    def add_files(self, contents: Mapping[str, str]) -> None:
        """Write files into the cluster's folder before it starts, for settings that name some (certificates, keys)."""
        if not self.data_directory.exists():
            self._make_cluster()
        for name, content in contents.items():
            file = self.data_directory / name
            file.write_text(content, encoding="utf-8")
            file.chmod(0o600)
            if self._as:
                os.chown(file, self._as["user"], self._as["group"])  # type: ignore[arg-type]

    def stop(self) -> None:
        """End all connections and stop, in order."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Stop at once, as after a power cut: the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def remove(self) -> None:
        """Stop, and leave nothing on the disk."""
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _make_cluster(self) -> None:
        """A copy of the first one that this run made: to copy takes a tenth of the time of `initdb`."""
        place = template_folder()
        with (place / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (template := place / "cluster").exists():
                _copy(template, self.data_directory)
            else:
                self._initialize()
                _copy(self.data_directory, place / "unfinished")
                (place / "unfinished").rename(template)

    def _initialize(self) -> None:
        password = self._directory / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        if self._as:
            os.chown(password, self._as["user"], self._as["group"])  # type: ignore[arg-type]
        self._run("initdb", "-D", self.data_directory, "--username", USER, "--pwfile", password, "--no-sync",
                  "--encoding=UTF8", "--no-locale", "--auth-host=scram-sha-256", "--auth-local=trust")  # fmt: skip

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + SOON_S
        ask = [self._binaries / "pg_isready", "-q", "-h", self.host, "-p", str(self.port), "-U", USER, "-d", "postgres"]
        while subprocess.run(ask, check=False).returncode != 0:
            if self._process is None or self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log}")
            time.sleep(0.02)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(SOON_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    # -- what is in it ------------------------------------------------------------------------------------------------

    def new_database(self, name: str | None = None, template: str | None = None) -> str:
        """Make a database, empty or as the one with the URL `template`, to which nobody is connected; its URL."""
        name = name or f"test_{next(self._names)}"
        self.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{database_of(template)}"' if template else ""))
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop it, with everybody who is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{database_of(url)}" WITH (FORCE)')

    def url(self, database: str, user: str = USER, password_in_url: str = PASSWORD_IN_URL) -> str:
        return f"postgresql://{user}:{password_in_url}@{self.host}:{self.port}/{database}"

    def execute(self, statement: str, url: str | None = None) -> str:
        """Let psql execute a statement as the superuser, in a database; what it prints, one line per row, `|` between.

        What it says if it fails is in the error.
        """
        database = database_of(url) if url else "postgres"
        return self._run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self._directory,
                         "-p", str(self.port), "-U", USER, "-d", database, "-c", statement)  # fmt: skip

    def run(self, program: str, *arguments: str, given: Path | None = None, to: Path | None = None) -> None:
        """Let one of PostgreSQL's own programs read `given` and write `to`."""
        output = self._run(program, *arguments, text=given.read_text(encoding="utf-8") if given else None)
        if to is not None:
            to.write_text(output, encoding="utf-8")

    def _run(self, program: str, *arguments: str | Path, text: str | None = None) -> str:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            cwd=self._directory,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            **self._as,  # type: ignore[call-overload]
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.removesuffix("\n")


@functools.cache
def template_folder() -> Path:
    """Where the cluster lies that the others of this run are copies of; the run's other workers use it, too."""
    if notes := os.environ.get(FOLDER):
        place = Path(notes) / "postgres"
        place.mkdir(exist_ok=True)
    else:
        place = Path(tempfile.mkdtemp(prefix="wattbus-postgres-template-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def _copy(source: Path, target: Path) -> None:
    """With its owner and its permissions, which PostgreSQL insists on."""
    subprocess.run(["cp", "-a", source, target], check=True)


def database_of(url: str) -> str:
    """The name of the database in a URL."""
    return urlsplit(url).path.removeprefix("/")


def _other_user() -> dict[str, object]:
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


@functools.cache
def _shared_server() -> PostgresServer:
    """One for the whole run, whoever asks first and however many conftests import the fixture."""
    server = PostgresServer()
    atexit.register(server.remove)
    server.start()
    return server


@pytest.fixture(scope="session")
def postgres_server() -> PostgresServer:
    """The cluster that all tests share. Do not stop it."""
    if find_binaries() is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    return _shared_server()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A new, empty database; dropped after the test."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop_database(url)
