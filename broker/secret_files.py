"""Every secret of the suite, and the files in which it lies. All of them are below the secrets' folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from broker.files import Owner
from broker.settings import Settings
from wattbus.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Secret:
    """A generated secret; `copies` are for containers that may not see the first place."""

    place: str
    copies: tuple[str, ...] = ()


# Beside one per user of the broker: `USER/mqtt_password`.
SECRETS = (
    Secret("database/superuser_password"),
    Secret("database/password"),
    Secret("database/reader_password", copies=("grafana/database_password",)),
    Secret("grafana/admin_password"),
    Secret("pgadmin/password"),
)

DATABASE_PASSWORD = "database/password"
WITH_DATABASE = ("history", "raw-db", "api")  # roles that get a `database_url`
READER_ROLE = "wattbus_reader"

REGISTER = "users.json"
AUTHORITY = "certificate-authority"
PUBLIC = "public"
BROKER = "mosquitto"
BY_ENV_FILE = "connectors"
FOREIGN = ("database", "grafana", "pgadmin")  # other people's images, which run as users that we do not choose

LONGEST_LINE = 1024


def owner_of(settings: Settings, place: str) -> Owner:
    """Who may read what lies at a place. The table of the whole folder."""
    first = Path(place).parts[0]
    if first == BROKER:
        return Owner(settings.broker_uid, settings.broker_gid, 0o440, 0o750)
    if first in (AUTHORITY, REGISTER):
        return Owner(0, 0, 0o400, 0o700)
    if first in FOREIGN or first == PUBLIC:
        return Owner(0, 0, 0o444, 0o755)  # each container sees its own folder only
    return Owner(0, settings.secrets_gid, 0o440, 0o750)


def mqtt_password_place(user: str) -> str:
    return f"{user}/mqtt_password"


def line_in(path: Path) -> str:
    """The secret in a file, "" when there is none. Raises ConfigError when it is no single line."""
    try:
        text = path.read_text(encoding="utf-8").strip("\r\n")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        text = "\n"
    if not text.isprintable() or len(text) > LONGEST_LINE:
        raise ConfigError(f"{path}: expected one line of text; remove the file, and the set-up makes a new secret")
    return text
