"""Certificates for the broker: its own, made here with a CA of this installation, or those that somebody gives.

The made ones follow RFC 5280 as strictly as OpenSSL and Python ≥ 3.13 check it (VERIFY_X509_STRICT): key identifiers,
critical basic constraints, key usage. Keys are P-256: small machines sign with them in a millisecond.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wattbus.errors import ConfigError

AUTHORITY_DAYS = 7300  # clients have it by hand: it should outlive the installation
SERVER_DAYS = 825  # more is refused by Apple's clients
# The set-up runs whenever the suite is started or updated, so once a year is enough to never see the end of it.
RENEW_DAYS = 365
NOT_BEFORE = timedelta(days=1)  # machines without a clock of their own start in the past
SOFTWARE_IS_FROM = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate (for a server with its chain) and its key, both PEM."""

    certificate: str
    key: str

    @property
    def together(self) -> str:
        """Key and chain in one file, so that nobody ever reads one without the other."""
        return self.key + self.certificate

    @classmethod
    def of(cls, together: str) -> Signed | None:
        """What `together` gave; None when there is no certificate in it."""
        key, begin, rest = together.partition("-----BEGIN CERTIFICATE-----")
        return cls(begin + rest, key) if begin else None

    @property
    def is_whole(self) -> bool:
        """Whether certificate and key can be read, and belong together."""
        try:
            return matching(self)
        except (ValueError, TypeError):
            return False

    @property
    def first(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.certificate.encode())


def new_authority(now: datetime) -> Signed:
    """A CA of this installation; its name is unlike those of others."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Wattbus CA {secrets.token_hex(4)}")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = _usage(key_cert_sign=True, crl_sign=True)
    certificate = (
        _builder(name, name, key.public_key(), now, timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return _signed(certificate, key)


def new_server(authority: Signed, names: Sequence[str], now: datetime) -> Signed:
    """A certificate for a server with these names and addresses, signed by the CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.first
    issuer_key = load_pem_private_key(authority.key.encode(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Wattbus broker")])
    life = min(timedelta(days=SERVER_DAYS), issuer.not_valid_after_utc - _sound(now))
    certificate = (
        _builder(subject, issuer.subject, key.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return _signed(certificate, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    now = _sound(now)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - NOT_BEFORE)
        .not_valid_after(now + life)
    )


def _sound(now: datetime) -> datetime:
    """A clock that is before this software's time has not been set yet."""
    return max(now, SOFTWARE_IS_FROM)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _signed(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Signed:
    return Signed(
        certificate.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


# -- what is there already ----------------------------------------------------------------------------------------


def names_of(certificate: x509.Certificate) -> set[str]:
    """The names and addresses that it is for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def days_left(certificate: x509.Certificate, now: datetime) -> int:
    return (certificate.not_valid_after_utc - now).days


def is_signed_by(server: Signed, authority: Signed) -> bool:
    try:
        server.first.verify_directly_issued_by(authority.first)
    except Exception:  # noqa: BLE001 - ValueError, TypeError, InvalidSignature of a library that names no common base
        return False
    return True


def still_good(server: Signed, authority: Signed, names: Iterable[str], now: datetime) -> bool:
    """Whether it can stay: signed by this CA, for all these names, for a good while."""
    wanted = {str(ipaddress.ip_address(name)) if _is_address(name) else name for name in names}
    return (
        server.is_whole
        and is_signed_by(server, authority)
        and wanted <= names_of(server.first)
        and days_left(server.first, now) >= RENEW_DAYS
    )


def _is_address(name: str) -> bool:
    return isinstance(_general(name), x509.IPAddress)


def matching(pair: Signed) -> bool:
    """Whether certificate and key belong together. Raises ValueError, TypeError when one of them is none."""
    key = load_pem_private_key(pair.key.encode(), None)
    return _public_bytes(key.public_key()) == _public_bytes(pair.first.public_key())


def _public_bytes(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]


# -- what somebody gives --------------------------------------------------------------------------------------------


def given(certificate: str, key: str, authority: str) -> tuple[Signed, str]:
    """A certificate of somebody else and the CA that clients need ("" when there is none to hand out).

    Each is PEM text or a path. Raises ConfigError.
    """
    pair = Signed(_pem("BROKER_TLS_CERT", certificate), _pem("BROKER_TLS_KEY", key))
    _load("BROKER_TLS_CERT", pair.certificate)
    try:
        fits = matching(pair)
    except TypeError:
        raise ConfigError("BROKER_TLS_KEY: has a pass phrase, which nobody can type when the broker starts") from None
    except ValueError as error:
        raise ConfigError(f"BROKER_TLS_KEY: no key in PEM: {error}") from None
    if not fits:
        raise ConfigError("BROKER_TLS_KEY: not the key of the (first) certificate in BROKER_TLS_CERT")
    if not authority:
        return pair, ""
    text = _pem("BROKER_TLS_CA", authority)
    _load("BROKER_TLS_CA", text)
    return pair, text


def _pem(variable: str, value: str) -> str:
    """PEM text as it is, or the text of the file that is named."""
    if not value:
        raise ConfigError(f"{variable}: BROKER_TLS_CERT and BROKER_TLS_KEY are needed together")
    if not value.lstrip().startswith("-----BEGIN"):
        try:
            value = Path(value).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{variable}: neither PEM text nor a file that can be read: {error}") from None
    return value.strip().replace("\r\n", "\n") + "\n"


def _load(variable: str, text: str) -> None:
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise ConfigError(f"{variable}: no certificate in PEM: {error}") from None
