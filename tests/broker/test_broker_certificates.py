"""Certificates: OpenSSL and Python's strictest checks judge ours; those of others are made by OpenSSL."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker import certificates
from broker.certificates import Signed
from tests.broker.installation import Client, Installation, tool, until
from wattbus.errors import ConfigError
from wattbus.testing.waiting import PATIENCE_S

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAMES = ["broker", "house.example.org", "192.168.0.10", "::1"]


@pytest.fixture(scope="module")
def authority() -> Signed:
    return certificates.new_authority(NOW)


@pytest.fixture
def server(authority: Signed) -> Signed:
    return certificates.new_server(authority, NAMES, NOW)


def verify(folder: Path, authority: Signed, server: Signed, *options: str) -> str:
    (folder / "ca.crt").write_text(authority.certificate)
    (folder / "server.crt").write_text(server.certificate)
    done = tool(
        "openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(folder / "ca.crt"), *options,
        str(folder / "server.crt"),
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", [["-verify_hostname", "house.example.org"], ["-verify_ip", "192.168.0.10"]])
def test_openssl_is_content(tmp_path: Path, authority: Signed, server: Signed, name: list[str]) -> None:
    at = ["-attime", str(int(NOW.timestamp()))]
    assert verify(tmp_path, authority, server, *at, *name).endswith("server.crt: OK\n")


def test_openssl_tells_other_names_authorities_and_times(tmp_path: Path, authority: Signed, server: Signed) -> None:
    now, late = str(int(NOW.timestamp())), str(int((NOW + timedelta(days=826)).timestamp()))
    assert "hostname mismatch" in verify(tmp_path, authority, server, "-attime", now, "-verify_hostname", "evil.org")
    assert "certificate has expired" in verify(tmp_path, authority, server, "-attime", late)
    assert "error" in verify(tmp_path, certificates.new_authority(NOW), server, "-attime", now)


def test_it_is_what_it_says(server: Signed, authority: Signed) -> None:
    assert server.is_whole
    assert authority.is_whole
    assert not Signed(server.certificate, authority.key).is_whole
    assert Signed.of(server.together) == server
    assert certificates.names_of(server.first) == set(NAMES)
    assert certificates.days_left(server.first, NOW) == certificates.SERVER_DAYS
    assert certificates.days_left(authority.first, NOW) == certificates.AUTHORITY_DAYS


def test_when_it_can_stay(server: Signed, authority: Signed) -> None:
    def good(names: list[str], days: float = 0, by: Signed = authority) -> bool:
        return certificates.still_good(server, by, names, NOW + timedelta(days=days))

    assert good(NAMES)
    assert good(["broker"])
    assert good(["0:0:0:0:0:0:0:1"])
    assert not good([*NAMES, "another.example.org"])
    assert not good(NAMES, by=certificates.new_authority(NOW))
    assert good(NAMES, certificates.SERVER_DAYS - certificates.RENEW_DAYS)
    assert not good(NAMES, certificates.SERVER_DAYS - certificates.RENEW_DAYS + 1)


def test_it_never_outlives_its_authority(authority: Signed) -> None:
    late = NOW + timedelta(days=certificates.AUTHORITY_DAYS - 10)
    assert certificates.days_left(certificates.new_server(authority, ["x"], late).first, late) == 10


def test_a_clock_that_is_not_set_yet() -> None:
    """A machine without a battery begins in 1970; what it makes must be good when its clock is right."""
    authority = certificates.new_authority(datetime(1970, 1, 1, tzinfo=UTC))
    server = certificates.new_server(authority, ["broker"], datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    assert certificates.still_good(server, authority, ["broker"], certificates.SOFTWARE_IS_FROM)


# -- those of others --------------------------------------------------------------------------------------------------


def make(folder: Path, *options: str, encrypted: bool = False) -> tuple[Path, Path]:
    """A self-signed certificate of OpenSSL."""
    certificate, key = folder / "own.crt", folder / "own.key"
    words = ["-passout", "pass:secret"] if encrypted else ["-nodes"]
    done = tool(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", *words, "-keyout", str(key), "-out", str(certificate),
        "-subj", "/CN=mqtt.example.org", "-addext", "subjectAltName=DNS:localhost", "-days", "30", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return certificate, key


def test_given_as_path_or_as_text(tmp_path: Path) -> None:
    certificate, key = make(tmp_path)
    by_path, no_authority = certificates.given(str(certificate), str(key), "")
    by_text, with_authority = certificates.given(certificate.read_text(), key.read_text(), certificate.read_text())
    assert by_path == by_text
    assert by_path.is_whole
    assert (no_authority, with_authority) == ("", certificate.read_text())


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda c, k, f: (c, ""), "BROKER_TLS_KEY: BROKER_TLS_CERT and BROKER_TLS_KEY are needed together"),
        (lambda c, k, f: ("", k), "BROKER_TLS_CERT: BROKER_TLS_CERT and BROKER_TLS_KEY are needed together"),
        (lambda c, k, f: (str(f / "none"), k), "BROKER_TLS_CERT: neither PEM text nor a file that can be read"),
        (lambda c, k, f: (k, k), "BROKER_TLS_CERT: no certificate in PEM"),
        (lambda c, k, f: (c, c), "BROKER_TLS_KEY: no key in PEM"),
        (lambda c, k, f: (c, certificates.new_authority(NOW).key), "BROKER_TLS_KEY: not the key of"),
        (lambda c, k, f: tuple(map(str, make(f, encrypted=True))), "BROKER_TLS_KEY: has a pass phrase"),
    ],
)  # fmt: skip
def test_faults_are_named(tmp_path: Path, spoil: Callable[..., tuple[str, str]], fault: str) -> None:
    certificate, key = (path.read_text() for path in make(tmp_path))
    with pytest.raises(ConfigError) as error:
        certificates.given(*spoil(certificate, key, tmp_path), "")
    assert fault in str(error.value)
    assert key not in str(error.value)


def test_the_authority_is_looked_at(tmp_path: Path) -> None:
    certificate, key = make(tmp_path)
    with pytest.raises(ConfigError, match="BROKER_TLS_CA: no certificate in PEM"):
        certificates.given(str(certificate), str(key), str(key))


# -- the broker -------------------------------------------------------------------------------------------------------


def presented(port: int, ca: Path | None, host: str = "localhost") -> bytes:
    """The certificate that the broker shows, after Python's strictest checks."""
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname=host) as encrypted,
    ):
        return encrypted.getpeercert(binary_form=True) or b""


def test_services_sign_in_over_tls(installation: Installation) -> None:
    port, ca = installation.settings.broker_tls_port, installation.secrets / "public" / "ca.crt"
    assert ca.read_text() == (installation.secrets / "heatpump" / "ca.crt").read_text()
    password = installation.password("heatpump")
    with installation.running():
        for host in ("localhost", "127.0.0.1"):
            client = Client(port, "heatpump", password, ca=ca, host=host)
            assert client.publish("heatpump/values") == [16]
            client.close()
        assert presented(port, ca, "broker")
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            presented(port, ca, "evil.example.org")
        with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
            presented(port, None)
        arguments = ["-h", "localhost", "-p", str(port), "--cafile", str(ca), "-u", "heatpump"]
        told = tool("mosquitto_pub", "-V", "5", *arguments, "-P", password, "-q", "1", "-t", "heatpump/x", "-m", "1")
        assert (told.returncode, told.stderr) == (0, "")


def test_a_given_certificate(installation: Installation, tmp_path: Path) -> None:
    certificate, key = make(tmp_path)
    installation.variables |= {"BROKER_TLS_CERT": str(certificate), "BROKER_TLS_KEY": key.read_text()}
    report = installation.set_up()
    assert "new certificate: for localhost" in report.done
    assert any("valid until" in remark for remark in report.remarks)  # it has 29 days left
    assert not (installation.secrets / "public" / "ca.crt").exists()  # clients know the CA, or it is given too
    installation.variables["BROKER_TLS_CA"] = str(certificate)
    installation.set_up()
    port, ca = installation.settings.broker_tls_port, installation.secrets / "heatpump" / "ca.crt"
    with installation.running():
        client = Client(port, "heatpump", installation.password("heatpump"), ca=ca, host="localhost")
        assert client.publish("heatpump/values") == [16]
        client.close()
        assert presented(port, ca) == ssl.PEM_cert_to_DER_cert(certificate.read_text())


def test_it_is_renewed_in_time(installation: Installation) -> None:
    late = datetime.now(UTC) + timedelta(days=certificates.SERVER_DAYS - certificates.RENEW_DAYS + 1)
    assert [line.partition(":")[0] for line in installation.set_up(late).done] == ["new certificate"]
    assert installation.set_up(late).done == []


def test_a_new_certificate_is_shown_without_a_restart(installation: Installation) -> None:
    port, ca = installation.settings.broker_tls_port, installation.secrets / "public" / "ca.crt"

    def has_the_new_name() -> bool:
        try:
            return bool(presented(port, ca, "house.example.org"))
        except ssl.SSLCertVerificationError:
            return False

    with installation.running(), installation.client("heatpump") as client:
        assert not has_the_new_name()
        installation.variables["BROKER_TLS_NAMES"] = "house.example.org, 192.168.0.10"
        [done] = installation.set_up().done
        assert done.startswith("new certificate: for 127.0.0.1, 192.168.0.10, ::1, broker, house.example.org")
        until(has_the_new_name, "the new certificate", installation.log.read_text)
        assert client.publish("heatpump/values") == [16]  # nobody was sent away for it


def test_websockets(tmp_path: Path) -> None:
    from tests.support.ports import free_port

    installation = Installation(tmp_path, BROKER_WEBSOCKETS_PORT=str(free_port()), BROKER_TLS_PORT="0")
    installation.set_up()
    with installation.running():
        port, ca = installation.settings.broker_websockets_port, installation.secrets / "public" / "ca.crt"
        until(lambda: tool("openssl", "s_client", "-connect", f"127.0.0.1:{port}", input="").returncode == 0)
        client = Client(
            port, "reader", installation.password("reader"), ca=ca, host="localhost", transport="websockets"
        )
        assert client.connected == 0
        client.close()
