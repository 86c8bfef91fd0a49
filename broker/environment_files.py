"""The names that people gave to their services: from the env files in a folder. Values are looked at by name only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wattbus.errors import ConfigError
from wattbus.settings import read_env_file

NO_SERVICES = ("common.env", ".env")  # what services share


@dataclass(frozen=True, slots=True)
class Found:
    """A service's name. `file_name` is how its secrets are found without knowing it: `keba`, `keba.garage`.

    `guessed`: there is no env file yet, or no name in it; the name is the kind's.
    """

    name: str
    kind: str
    file: str
    file_name: str
    guessed: bool = False


def names_in(folders: Iterable[Path]) -> tuple[list[Found], list[str]]:
    """The services of all folders, and what is to be said about files that cannot be read.

    A folder holds `KIND/.env` and `KIND/*.env` (the project's `connectors`), or `KIND.env` and `KIND.*.env` (`wattbus
    up`). Raises ConfigError when a folder is not there.
    """
    found: list[Found] = []
    remarks: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"ENVIRONMENT_FOLDER: there is no folder {folder}")
        for path, kind, file_name in _files(folder):
            try:
                found.append(_found(folder, path, kind, file_name))
            except ConfigError as error:
                remarks.append(f"no user is made: {error}")
    return sorted(found, key=lambda one: one.guessed), remarks  # what somebody chose comes first


def _files(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Path, kind and name of each file; a kind without a file has the folder in its place."""
    for path in sorted(folder.glob("*.env")):
        if path.name not in NO_SERVICES and path.is_file():
            stem = path.name.removesuffix(".env")
            yield path, stem.partition(".")[0], stem
    for kind in sorted(path for path in folder.iterdir() if _is_kind(path)):
        files = [path for path in sorted(kind.glob("*.env")) if path.is_file()]
        for path in files:
            stem = path.name.removesuffix(".env")
            yield path, kind.name, f"{kind.name}.{stem}" if stem else kind.name
        if kind / ".env" not in files:
            yield kind, kind.name, kind.name


def _is_kind(path: Path) -> bool:
    return path.is_dir() and ((path / "settings.py").is_file() or any(path.glob("*.env*")))


def _found(folder: Path, path: Path, kind: str, file_name: str) -> Found:
    variables = read_env_file(path) if path.is_file() else {}
    kind = (variables.get("SERVICE") or kind).strip().lower().replace("-", "_")
    name = variables.get("CONNECTOR_NAME") or variables.get("SERVICE_NAME") or ""
    file = str(path.relative_to(folder.parent))
    return Found(name or kind.replace("_", "-"), kind, file, file_name, guessed=not name)
