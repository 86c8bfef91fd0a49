"""The set-up: makes what is missing, writes what follows from it, leaves everything else as it is."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path

from broker import certificates, files
from broker.certificates import Signed
from broker.configuration import configuration, health_options
from broker.environment_files import names_in
from broker.passwords import new_password, password_file
from broker.rules import access_file, extra_rules
from broker.secret_files import (
    AUTHORITY,
    BROKER,
    BY_ENV_FILE,
    DATABASE_PASSWORD,
    PUBLIC,
    REGISTER,
    SECRETS,
    WITH_DATABASE,
    line_in,
    mqtt_password_place,
    owner_of,
)
from broker.settings import Settings, is_host
from broker.users import User, gathered, merged, named_in_setting, read_register, register
from wattbus.errors import ConfigError

STANDARD_NAMES = ("broker", "mosquitto", "localhost", "127.0.0.1", "::1")
WARN_DAYS = 30


@dataclass(slots=True)
class Report:
    """What a run did, for the log: names, never secrets. `remarks` are for somebody to look at."""

    done: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def set_up(settings: Settings, now: datetime, *, remove: str = "", rotate: str = "") -> Report:
    """Bring the folder up to date; without the user `remove`, and with a new secret for `rotate`, a user or a place.

    Raises ConfigError (for a setting before anything is written), OSError when writing fails.
    """
    found, unreadable = names_in(settings.environment_folders)
    present, remarks = gathered(found, named_in_setting(settings.broker_users))
    certificate = _given_certificate(settings)
    with files.locked(settings.secrets_folder):
        known = read_register(settings.secrets_folder / REGISTER)
        _check_named(present, known, remove, rotate)
        users, unnamed, gone = merged(known, present, remove)
        rules = extra_rules(settings.broker_extra_rules, users)
        run = _Run(settings, now, rotate if "/" in rotate else mqtt_password_place(rotate))
        run.report.remarks += [*unreadable, *remarks, *(_unnamed(users[name]) for name in unnamed)]
        run.register(known, users, gone)
        run.certificate(certificate)
        run.other_secrets()
        run.users_files(users)
        run.broker_files(users, rules)
    return run.report


def _check_named(present: Mapping[str, User], known: Mapping[str, User], remove: str, rotate: str) -> None:
    there = present.keys() | known.keys()
    places = [secret.place for secret in SECRETS]
    if remove in present:
        raise ConfigError(f"{remove} would be back at the next set-up ({present[remove].origin})")
    if remove and remove not in there:
        raise ConfigError(f"there is no user {remove} (there are: {', '.join(sorted(there))})")
    if rotate and rotate not in {*there, *places}:
        raise ConfigError(f"there is no user or secret {rotate} (there are: {', '.join([*sorted(there), *places])})")


def _unnamed(user: User) -> str:
    return (
        f"nothing names the user {user.name} any more ({user.origin}); it keeps its access until: "
        f"python -m broker remove {user.name}"
    )


def _given_certificate(settings: Settings) -> tuple[Signed, str] | None:
    key = settings.broker_tls_key.get_secret_value()
    if not settings.broker_tls_cert and not key:
        if settings.broker_tls_ca:
            raise ConfigError("BROKER_TLS_CA: only with BROKER_TLS_CERT and BROKER_TLS_KEY")
        return None
    return certificates.given(settings.broker_tls_cert, key, settings.broker_tls_ca)


class _Run:
    """One run, with the folder locked."""

    def __init__(self, settings: Settings, now: datetime, anew: str) -> None:
        self.report = Report()
        self._settings = settings
        self._folder = settings.secrets_folder
        self._now = now
        self._anew = anew  # the place of a secret that gets a new one
        self._authority = ""  # the CA that clients need, PEM

    # -- files ------------------------------------------------------------------------------------------------------

    def _write(self, place: str, content: str) -> bool:
        """Write one file; its folders get the owner that the table says."""
        owner = owner_of(self._settings, place)
        path = self._folder
        for part in Path(place).parts[:-1]:
            path /= part
            files.make_folder(path, owner)
        return files.write(self._folder / place, content, owner)

    def _secret(self, place: str) -> str:
        """The secret at a place, made when there is none."""
        kept = "" if place == self._anew else line_in(self._folder / place)
        secret = kept or new_password()
        self._write(place, files.read(self._folder / place) if kept else f"{secret}\n")
        if not kept:
            self.report.done.append(f"new secret: {place}")
        return secret

    # -- what there is ----------------------------------------------------------------------------------------------

    def register(self, known: Mapping[str, User], users: Mapping[str, User], gone: Iterable[User]) -> None:
        """Note who has access from now on, and let go of the others."""
        self.report.done += [f"new user: {name} ({users[name].role})" for name in sorted(users.keys() - known)]
        for user in gone:
            self.report.done.append(f"user gone: {user.name}")
            forget(self._settings, user)
        self._write(REGISTER, register(users))

    def users_files(self, users: Mapping[str, User]) -> None:
        """A folder for each user, and one for each env file."""
        for user in users.values():
            password = self._secret(mqtt_password_place(user.name))
            first, *others = places_of(user)
            for place in others:
                self._write(f"{place}/mqtt_password", f"{password}\n")
            for place in (first, *others):
                self._write(f"{place}/mqtt_username", f"{user.name}\n")
                self._write_authority(f"{place}/ca.crt")
                if user.role in WITH_DATABASE:
                    self._write(f"{place}/database_url", f"{self._database_url}\n")

    def other_secrets(self) -> None:
        """Secrets of databases and pages."""
        for secret in SECRETS:
            content = self._secret(secret.place)
            for copy in secret.copies:
                self._write(copy, f"{content}\n")

    @property
    def _database_url(self) -> str:
        return self._settings.database_url(line_in(self._folder / DATABASE_PASSWORD))

    # -- the broker -------------------------------------------------------------------------------------------------

    def certificate(self, given: tuple[Signed, str] | None) -> None:
        """The broker's certificate, and the CA that belongs to it."""
        if given is not None:
            pair, self._authority = given
        elif self._settings.has_tls:
            authority = self._own_authority()
            pair, self._authority = self._own_certificate(authority), authority.certificate
        else:
            return
        self._write_authority(f"{PUBLIC}/ca.crt")
        if self._write(f"{BROKER}/certs/server.pem", pair.together):
            names = sorted(certificates.names_of(pair.first)) or ["no name at all"]
            self.report.done.append(f"new certificate: for {', '.join(names)}")
        left = certificates.days_left(pair.first, self._now)
        if left < WARN_DAYS:
            until = f"{pair.first.not_valid_after_utc:%Y-%m-%d}"
            self.report.remarks.append(f"the certificate of the broker is valid until {until} only ({left} days)")

    def _own_authority(self) -> Signed:
        place = f"{AUTHORITY}/ca.pem"
        authority = Signed.of(files.read(self._folder / place))
        if authority is None:
            authority = certificates.new_authority(self._now)
            self.report.done.append("new CA")
        elif not authority.is_whole:
            raise ConfigError(f"{self._folder / place}: damaged; remove it for a new CA, which every client needs then")
        self._write(place, authority.together)
        return authority

    def _own_certificate(self, authority: Signed) -> Signed:
        wanted = dict.fromkeys([*STANDARD_NAMES, *self._settings.tls_names])
        old = Signed.of(files.read(self._folder / BROKER / "certs/server.pem"))
        if old is not None and certificates.still_good(old, authority, wanted, self._now):
            return old
        # The machine's name is not wanted above: every container has another.
        return certificates.new_server(authority, [*(wanted | dict.fromkeys(_own_names()))], self._now)

    def _write_authority(self, place: str) -> None:
        if self._authority:
            self._write(place, self._authority)
        else:
            files.remove(self._folder / place)

    def broker_files(self, users: Mapping[str, User], extra: list[str]) -> None:
        """Configuration, rules, passwords; rules before passwords: nobody comes in before there are rules."""
        passwords = {name: line_in(self._folder / mqtt_password_place(name)) for name in users}
        rules = access_file(((user.name, user.role, user.kind) for user in users.values()), extra)
        written = {
            "run.sh": resources.files("broker").joinpath("run.sh").read_text(encoding="utf-8"),
            "mosquitto.conf": configuration(self._settings),
            "acl": rules,
            "passwd": password_file(passwords, files.read(self._folder / BROKER / "passwd")),
            "health/mosquitto_sub": health_options(self._settings, passwords["health"]),
        }
        changed = [name for name, content in written.items() if self._write(f"{BROKER}/{name}", content)]
        if changed:
            self.report.done.append(f"written for the broker: {', '.join(changed)}")
        if "mosquitto.conf" in changed and len(changed) < len(written):
            self.report.remarks.append("mosquitto.conf is different from before: restart the broker")


def _own_names() -> list[str]:
    """The name of this machine, unless it is a container's: twelve hexadecimal digits."""
    name = socket.gethostname()
    is_containers = len(name) == 12 and not set(name) - set("0123456789abcdef")
    return [] if is_containers or not is_host(name) else [name]


def places_of(user: User) -> list[str]:
    """The folders with a user's secrets: by its name, and by its env files."""
    return [user.name, *(f"{BY_ENV_FILE}/{file}" for file in user.env_files)]


def forget(settings: Settings, user: User) -> None:
    """Remove the files of a user. Raises OSError."""
    for place in places_of(user):
        folder = settings.secrets_folder / place
        for name in ("mqtt_username", "mqtt_password", "ca.crt", "database_url"):
            files.remove(folder / name)
        with contextlib.suppress(OSError):  # it holds something else, or was never there
            folder.rmdir()
