"""Where a PostgreSQL is: `DATABASE_URL`, checked and put into the form that the driver reads. Contacts nothing.

No message here repeats a part of the URL that may hold the password, or a piece of one that nobody escaped.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from wattbus.errors import ConfigError

EXPECTED = "expected postgresql://user:password@host:port/name"
TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# What the driver understands behind the question mark, and a few server settings that make sense there.
PARAMETERS = (
    "host", "port", "passfile", "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl",
    "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version", "target_session_attrs", "krbsrvname",
    "gsslib", "application_name", "search_path", "options",
)  # fmt: skip
_TRUE, _FALSE = ("true", "on", "1", "yes"), ("false", "off", "0", "no")


def driver_url(database_url: str) -> str:
    """The URL for the driver. Raises ConfigError, naming what is wrong and never the password."""
    try:
        parts = urlsplit(database_url)
        parameters = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ConfigError(f"DATABASE_URL: not a URL; {EXPECTED}") from None
    if parts.fragment:
        raise ConfigError(f"DATABASE_URL: a # in user or password is written as %23; {EXPECTED}")
    name = unquote(parts.path.removeprefix("/"))
    if not name or "/" in name:
        raise ConfigError(
            f"DATABASE_URL: {'names no database' if not name else 'cannot be read'}; {EXPECTED}"
            " (in user and password a / is written as %2F)"
        )
    credentials, _, hosts = parts.netloc.rpartition("@")
    _check_hosts(hosts)
    query = urlencode([_parameter(key, value) for key, value in parameters], quote_via=quote)
    return f"postgresql://{_escaped(credentials)}{hosts}/{quote(name, safe='')}{'?' if query else ''}{query}"


def _check_hosts(hosts: str) -> None:
    """`host`, `host:port`, `[::1]:port`, several separated by commas; none: the parameter `host` names a socket."""
    for host in filter(None, hosts.split(",")):
        after_address = host.rpartition("]")[2] if host.startswith("[") else host
        port = after_address.partition(":")[2] if ":" in after_address else "5432"
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
            raise ConfigError(
                f"DATABASE_URL: the port is not a number; {EXPECTED} (in user and password / : @ are written as %2F %3A"
                " %40)"
            )


def _escaped(credentials: str) -> str:
    """`user:password@`, also when somebody forgot to escape what is special in a URL."""
    if not credentials:
        return ""
    user, colon, password = credentials.partition(":")
    return f"{quote(unquote(user), safe='')}{colon}{quote(unquote(password), safe='')}@"


def _parameter(key: str, value: str) -> tuple[str, str]:
    """`ssl`, which other programs accept, is `sslmode` here."""
    if key == "ssl":
        key, value = "sslmode", value.lower()
        value = "require" if value in _TRUE else "disable" if value in _FALSE else value
    if key not in PARAMETERS:
        raise ConfigError(f"DATABASE_URL: unknown parameter behind the ?; these are known: {', '.join(PARAMETERS)}")
    if key == "sslmode" and value not in TLS_MODES:
        raise ConfigError(f"DATABASE_URL: sslmode is one of {', '.join(TLS_MODES)}")
    return key, value
