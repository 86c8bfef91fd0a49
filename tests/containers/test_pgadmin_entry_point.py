"""What comes before pgAdmin's own entry point. pgAdmin itself is not needed for it."""

from __future__ import annotations

import datetime
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509

ROOT = Path(__file__).parents[2]
PGADMIN = ROOT / "pgadmin"
PGADMINS_OWN = "#!/bin/sh\nenv | sort >{environment}\n"


class Container:
    """The folders that the container has."""

    def __init__(self, folder: Path) -> None:
        self.state, self.certs, self.environment = folder / "state", folder / "certs", folder / "environment"
        self.state.mkdir()
        self.certs.mkdir()
        self._next = folder / "next.sh"
        self._next.write_text(PGADMINS_OWN.format(environment=self.environment))
        self._next.chmod(0o755)

    def start(self, **environment: str) -> dict[str, str]:
        """Run the entry point; the environment that pgAdmin's own one gets."""
        places = {
            "PGADMIN_STATE": self.state,
            "PGADMIN_CERTS": self.certs,
            "PGADMIN_PYTHON": sys.executable,
            "PGADMIN_ENTRYPOINT": self._next,
        }
        variables = {"PATH": "/usr/bin:/bin", **{name: str(place) for name, place in places.items()}, **environment}
        subprocess.run(["/bin/sh", PGADMIN / "entrypoint.sh"], env=variables, check=True, capture_output=True)
        lines = self.environment.read_text().splitlines()
        return dict(line.partition("=")[::2] for line in lines)


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_a_self_signed_certificate_that_tls_takes(container: Container) -> None:
    assert container.start(PGADMIN_ENABLE_TLS="TRUE")["PGADMIN_ENABLE_TLS"] == "TRUE"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(container.certs / "server.cert", container.certs / "server.key")
    client = ssl.create_default_context(cafile=str(container.certs / "server.cert"))
    ours, theirs = socket.socketpair()
    greeting = threading.Thread(target=lambda: server.wrap_socket(theirs, server_side=True).sendall(b"hello"))
    greeting.start()
    with client.wrap_socket(ours, server_hostname="localhost") as connection:  # checks the name and the dates
        assert connection.recv(5) == b"hello"
    greeting.join()
    assert (container.certs / "server.key").stat().st_mode & 0o077 == 0


def test_the_certificate_stays_over_a_restart(container: Container) -> None:
    container.start(PGADMIN_ENABLE_TLS="TRUE")
    first = (container.certs / "server.cert").read_bytes()
    shutil.rmtree(container.certs)  # it is a tmpfs
    container.certs.mkdir()
    container.start(PGADMIN_ENABLE_TLS="TRUE", SSL_CERT_PEM="only one of the two")
    assert (container.certs / "server.cert").read_bytes() == first


def test_a_certificate_that_ends_soon_is_made_anew(container: Container, tmp_path: Path) -> None:
    container.start(PGADMIN_ENABLE_TLS="TRUE")
    first = x509.load_pem_x509_certificate((container.certs / "server.cert").read_bytes())
    made = """
import datetime, pathlib, sys
sys.path.insert(0, sys.argv[1])
import certificate
certificate.make(pathlib.Path(sys.argv[2]), datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=800))
"""
    subprocess.run([sys.executable, "-c", made, PGADMIN, container.state / "certificate"], check=True)
    container.start(PGADMIN_ENABLE_TLS="TRUE")
    renewed = x509.load_pem_x509_certificate((container.certs / "server.cert").read_bytes())
    assert renewed.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=800)
    assert renewed.serial_number != first.serial_number


def test_a_certificate_of_your_own(container: Container) -> None:
    environment = container.start(PGADMIN_ENABLE_TLS="TRUE", SSL_CERT_PEM="CERT\nIFICATE", SSL_KEY_PEM="KEY")
    assert (container.certs / "server.cert").read_text() == "CERT\nIFICATE\n"
    assert (container.certs / "server.key").read_text() == "KEY\n"
    assert "SSL_KEY_PEM" not in environment


@pytest.mark.parametrize("text", ["", "FALSE", "false", "0", "no", "Off"])
def test_without_tls(container: Container, text: str) -> None:
    assert "PGADMIN_ENABLE_TLS" not in container.start(PGADMIN_ENABLE_TLS=text)  # pgAdmin takes any text for yes
    assert not list(container.certs.iterdir())


def test_a_given_password_counts_and_else_the_generated_one(container: Container) -> None:
    names = {"PGADMIN_DEFAULT_PASSWORD", "PGADMIN_DEFAULT_PASSWORD_FILE"}
    given = container.start(PGADMIN_DEFAULT_PASSWORD="mine", PGADMIN_DEFAULT_PASSWORD_FILE="/run/secrets/p")
    assert given.keys() & names == {"PGADMIN_DEFAULT_PASSWORD"}  # pgAdmin refuses both
    generated = container.start(PGADMIN_DEFAULT_PASSWORD="", PGADMIN_DEFAULT_PASSWORD_FILE="/run/secrets/p")
    assert generated.keys() & names == {"PGADMIN_DEFAULT_PASSWORD_FILE"}


def test_the_configuration_is_filled_anew_at_every_start(container: Container) -> None:
    place = container.state / "config_distro.py"
    place.write_text("OLD = 1\n")
    container.start(PGADMIN_CUSTOM_CONFIG_DISTRO_FILE=str(place))
    assert place.read_text() == ""


def test_it_knows_the_database() -> None:
    [server] = json.loads((PGADMIN / "servers.json").read_text())["Servers"].values()
    assert {"Name", "Group", "Host", "Port", "MaintenanceDB", "Username"} <= server.keys()  # pgAdmin demands them
    assert (server["Host"], server["Username"]) == ("database", "wattbus_reader")
