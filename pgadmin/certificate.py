"""A self-signed certificate for pgAdmin: `python certificate.py FOLDER` writes server.key and server.cert.

What is there stays, until 30 days before it ends, so that a browser asks its question once. Uses the library
`cryptography`, which pgAdmin's image has.
"""

import datetime
import ipaddress
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LASTS = datetime.timedelta(days=825)  # browsers refuse longer ones
RENEWED_BEFORE = datetime.timedelta(days=30)


def is_good(path: Path, now: datetime.datetime) -> bool:
    """Whether there is a certificate that will do for some time."""
    try:
        present = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return present.not_valid_after_utc > now + RENEWED_BEFORE


def make(folder: Path, now: datetime.datetime) -> None:
    """Write a new key and its certificate, for this machine's own names."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pgadmin")])
    names = [x509.DNSName("localhost"), x509.DNSName("pgadmin"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LASTS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "server.key").write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    (folder / "server.cert").write_bytes(certificate.public_bytes(encoding))


def main(folder: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if not is_good(folder / "server.cert", now) or not (folder / "server.key").is_file():
        make(folder, now)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
