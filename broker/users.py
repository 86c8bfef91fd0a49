"""The users of the broker: who there is, and why.

A user's name is the name of its service on the bus: `CONNECTOR_NAME`, or `SERVICE_NAME`. There are those of the suite's
own services, one for each env file of a connector, and those that BROKER_USERS names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from broker.environment_files import Found
from broker.rules import ROLE_OF_KIND, ROLES
from broker.secret_files import AUTHORITY, BROKER, BY_ENV_FILE, FOREIGN, PUBLIC
from wattbus.errors import ConfigError
from wattbus.settings import TopicLevel

# Folders beside those of the users, and first levels of topics that mean something to others.
RESERVED = {AUTHORITY, BY_ENV_FILE, BROKER, PUBLIC, *FOREIGN, "homeassistant", "python_controller", "v2"}

_NAME = TypeAdapter(TopicLevel)


@dataclass(frozen=True, slots=True)
class User:
    """One user. `kind` is the package of its service, `origin` who asked for it; `guessed`: nobody chose the name."""

    name: str
    role: str
    origin: str
    kind: str = ""
    guessed: bool = False
    env_files: tuple[str, ...] = field(default=())  # by which its secrets are found, too: `keba`, `keba.garage`


BUILT_IN = tuple(
    User(name, role, "built in", kind)
    for name, role, kind in (
        ("history", "history", "history"),
        ("raw-db", "raw-db", "raw_db"),
        ("controller", "controller", "controller"),
        ("api", "api", "api"),
        ("reader", "reader", ""),
        ("operator", "operator", ""),
        ("admin", "admin", ""),
        ("health", "health", ""),
    )
)
PEOPLE = ("reader", "operator", "admin")  # roles


def fault_in_name(name: str) -> str:
    """Why this cannot be a user's name, "" when it can."""
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        return f"{name!r}: " + str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    if name in RESERVED:
        return f"{name!r} is reserved"
    return ""


def named_in_setting(text: str) -> list[User]:
    """The users of BROKER_USERS. Raises ConfigError."""
    users: dict[str, User] = {}
    built_in = {user.name for user in BUILT_IN}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, role = part.partition(":")
        role = role or "connector"
        if fault := fault_in_name(name):
            raise ConfigError(f"BROKER_USERS: {fault}")
        if role not in ROLES:
            raise ConfigError(f"BROKER_USERS: {name}: there is no role {role!r} (there are: {', '.join(ROLES)})")
        if name in users or name in built_in:
            raise ConfigError(f"BROKER_USERS: there is a user {name} already")
        users[name] = User(name, role, "BROKER_USERS")
    return list(users.values())


def gathered(found: Iterable[Found], chosen: Iterable[User]) -> tuple[dict[str, User], list[str]]:
    """All users by name, and what is to be said about env files whose name cannot be one, or is there already."""
    users = {user.name: user for user in (*BUILT_IN, *chosen)}
    remarks = []
    for one in found:
        role = ROLE_OF_KIND.get(one.kind, "connector")
        there = users.get(one.name)
        if fault := fault_in_name(one.name):
            remarks.append(f"{one.file}: no user is made: {fault}")
        elif there is None:
            users[one.name] = User(one.name, role, one.file, one.kind, one.guessed, (one.file_name,))
        elif there.role != role:
            remarks.append(f"{one.file}: no user is made: {one.name} is the name of a {there.role} ({there.origin})")
        else:
            if there.env_files and not one.guessed:
                remarks.append(f"{one.file}: the name {one.name} is in {there.origin} too: only one of them can run")
            users[one.name] = User(
                one.name, role, there.origin, one.kind, there.guessed and one.guessed, (*there.env_files, one.file_name)
            )
    return users, remarks


def read_register(path: Path) -> dict[str, User]:
    """The users that earlier runs made. Raises ConfigError when the file was damaged."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        return {name: _user(name, facts) for name, facts in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ConfigError(f"{path}: not what the set-up writes ({error}): remove it, then run the set-up") from None


def _user(name: str, facts: Mapping[str, object]) -> User:
    user = User(**{**facts, "name": name, "env_files": tuple(facts["env_files"])})  # type: ignore[arg-type]
    if fault_in_name(name) or user.role not in ROLES:
        raise ValueError(name)
    return user


def register(users: Mapping[str, User]) -> str:
    """The content of the register: no secrets."""
    facts = {name: asdict(user) for name, user in sorted(users.items())}
    return json.dumps(facts, indent=1) + "\n"


def merged(
    known: Mapping[str, User], present: Mapping[str, User], remove: str = ""
) -> tuple[dict[str, User], list[str], list[User]]:
    """Those who have access from now on, the names of those that nothing names any more, and those who go.

    Access is taken away by `remove` alone: a folder that was not mounted for once must not lock a house out. Only a
    name that nobody chose goes by itself, when its connector has got another.
    """
    kinds = {user.kind for user in present.values()}
    taken = {file for user in present.values() for file in user.env_files}
    unnamed = {
        name: replace(user, env_files=tuple(file for file in user.env_files if file not in taken))
        for name, user in known.items()
        if name not in present
    }
    gone = {name for name, user in unnamed.items() if name == remove or (user.guessed and user.kind in kinds)}
    kept = {name: user for name, user in unnamed.items() if name not in gone}
    return {**kept, **present}, sorted(kept), [unnamed[name] for name in sorted(gone)]
