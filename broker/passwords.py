"""Passwords, and the lines by which Mosquitto knows them.

A line as mosquitto_passwd 2.0.11 writes it: `user:$7$ITERATIONS$SALT$HASH`, PBKDF2 with HMAC-SHA-512, 12 bytes of salt
and 64 of hash in base64. tests/broker compares in both directions.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

# mosquitto_passwd's own number. More would make guessing short passwords dearer; ours have 256 random bits, and the
# broker computes this at every connect in its only thread.
ITERATIONS = 101
SALT_BYTES, HASH_BYTES = 12, 64


def new_password() -> str:
    """32 random bytes, in characters that URLs and shells leave alone; no dash first, it would look like an option."""
    while not (password := secrets.token_urlsafe(32))[0].isalnum():
        pass
    return password


def password_line(user: str, password: str, salt: bytes | None = None) -> str:
    """The line of the password file."""
    salt = salt or secrets.token_bytes(SALT_BYTES)
    parts = (base64.b64encode(part).decode() for part in (salt, _hash(password, salt, ITERATIONS)))
    return f"{user}:$7${ITERATIONS}${'$'.join(parts)}"


def fits(line: str, user: str, password: str) -> bool:
    """Whether this is a line for this user with this password."""
    name, _, hashed = line.partition(":")
    try:
        empty, seven, iterations, salt, expected = hashed.split("$")
        given = _hash(password, base64.b64decode(salt, validate=True), int(iterations))
        wanted = base64.b64decode(expected, validate=True)
    except (ValueError, binascii.Error, OverflowError):
        return False
    return (name, empty, seven) == (user, "", "7") and hmac.compare_digest(given, wanted)


def _hash(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, HASH_BYTES)


def password_file(passwords: dict[str, str], before: str) -> str:
    """The password file for these users; lines of the file before that still fit stay as they are."""
    lines = {line.partition(":")[0]: line for line in before.splitlines()}
    kept = {user: line for user, line in lines.items() if user in passwords and fits(line, user, passwords[user])}
    return "".join(f"{kept.get(user) or password_line(user, passwords[user])}\n" for user in sorted(passwords))
