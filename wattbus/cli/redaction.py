"""Settings as text without their secrets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from wattbus.jsontext import dumps
from wattbus.settings import Settings

MASK = "********"

_SECRET_NAME = re.compile(r"password|passwd|passphrase|secret|token|key|credential", re.IGNORECASE)
# Up to the last @: passwords that nobody escaped hold / and @ themselves.
_URL_CREDENTIALS = re.compile(r"(?<=://)(\S*)@")
_URL_PARAMETER = re.compile(r"([?&;][^=&;\s]*(?:password|secret|token|key)[^=&;\s]*=)[^&;\s]*", re.IGNORECASE)


def redacted_lines(settings: Settings) -> Iterator[str]:
    """`NAME=value` for every setting, in their order, without secrets."""
    for name in type(settings).model_fields:
        yield f"{name.upper()}={_text(redacted(name, getattr(settings, name)))}"


def redacted(name: str, value: Any) -> Any:
    """The value of a setting, or of a key within one, as JSON without secrets."""
    if isinstance(value, BaseModel):
        value = {inner: getattr(value, inner) for inner in type(value).model_fields if inner in value.model_fields_set}
    if isinstance(value, Mapping):
        return {str(key): redacted(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(name, inner) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, SecretStr) or (_SECRET_NAME.search(name) and not _is_path(name, str(value))):
        return MASK
    if isinstance(value, int | float):
        return value
    return _URL_PARAMETER.sub(rf"\1{MASK}", _URL_CREDENTIALS.sub(_without_password, str(value)))


def _is_path(name: str, value: str) -> bool:
    """`…_KEY_FILE` names a file, unless it holds the key itself."""
    return name.lower().endswith("_file") and "-----BEGIN" not in value and "\n" not in value


def _without_password(credentials: re.Match[str]) -> str:
    user, colon, _ = credentials[1].partition(":")
    return f"{user}:{MASK}@" if colon else f"{MASK}@"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    return value if isinstance(value, str) else dumps(value).decode()
