"""What people are shown: users with their passwords, and lines to copy."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator

from broker.rules import ROLES, rules_for
from broker.secret_files import PUBLIC, READER_ROLE, REGISTER, line_in, mqtt_password_place
from broker.settings import Settings
from broker.users import PEOPLE, User, read_register
from wattbus.errors import ConfigError

# What is behind a sign-in of its own: title, user, place of the password.
PAGES = (
    ("Grafana", "admin", "grafana/admin_password"),
    ("pgAdmin", "the address in PGADMIN_DEFAULT_EMAIL", "pgadmin/password"),
    ("PostgreSQL", "{owner}", "database/password"),
    ("PostgreSQL, reading only", READER_ROLE, "database/reader_password"),
)


def credentials(settings: Settings, name: str = "") -> str:
    """The credentials of one user, or those that people need. Raises ConfigError when there are none."""
    users = read_register(settings.secrets_folder / REGISTER)
    if not users:
        raise ConfigError(f"there is nothing in {settings.secrets_folder} yet: run the set-up (python -m broker)")
    if name and name not in users:
        raise ConfigError(f"the broker has no user {name} (it has: {', '.join(sorted(users))})")
    lines = _of_one(settings, users[name]) if name else _of_people(settings, users.values())
    return "\n".join(lines) + "\n"


def authority(settings: Settings) -> str:
    """The CA certificate that clients need. Raises ConfigError when there is none to hand out."""
    try:
        return (settings.secrets_folder / PUBLIC / "ca.crt").read_text(encoding="ascii")
    except FileNotFoundError:
        raise ConfigError(
            "there is no CA to hand out: no set-up yet, no TLS, or a certificate of a public CA"
        ) from None


def _password(settings: Settings, place: str) -> str:
    return line_in(settings.secrets_folder / place)


def _of_one(settings: Settings, user: User) -> Iterator[str]:
    password = _password(settings, mqtt_password_place(user.name))
    yield f"MQTT_USERNAME={user.name}"
    yield f"MQTT_PASSWORD={password}"
    yield ""
    yield f"# {ROLES[user.role].meaning}"
    yield from (f"# {rule.access} {rule.topic}" for rule in rules_for(user.name, user.role, user.kind))
    yield ""
    yield _line(settings, user, password)


def _of_people(settings: Settings, users: Collection[User]) -> Iterator[str]:
    people = [user for role in PEOPLE for user in users if user.role == role]
    width = max(len(user.name) for user in people)
    yield "The broker:"
    for user in people:
        password = _password(settings, mqtt_password_place(user.name))
        yield f"  {user.name:{width}}  {password}  {ROLES[user.role].meaning}"
    yield ""
    yield _line(settings, people[0], _password(settings, mqtt_password_place(people[0].name)))
    yield ""
    yield "Pages and databases:"
    for title, who, place in PAGES:
        yield f"  {title}: {who.format(owner=settings.database_user)}  {_password(settings, place)}"


def _line(settings: Settings, user: User, password: str) -> str:
    """A command that shows what this user may read."""
    topic = "#" if user.role in PEOPLE else f"{user.name}/#"
    if settings.broker_tls_port:
        host = next(iter(settings.tls_names), "localhost")
        where = f"-h {host} -p {settings.broker_tls_port} --cafile ca.crt"
        before = "python -m broker ca > ca.crt   # once, for each machine\n"
    else:
        where, before = f"-p {settings.broker_plain_port}", ""
    return f"{before}mosquitto_sub {where} -u {user.name} -P {shlex.quote(password)} -v -t '{topic}'"
