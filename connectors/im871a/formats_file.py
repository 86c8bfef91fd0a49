"""Learnt formats of compact frames over a restart: a file of the connector's own."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from connectors.im871a.telegram import format_signature

log = logging.getLogger(__name__)


class FormatsFile:
    """In `path`. When it cannot be used that is logged, and full frames have to show their formats again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[int, bytes]:
        """The formats by their signatures; those that do not fit to their signature are left out."""
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            formats = [bytes.fromhex(text) for text in kept["formats"]]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, LookupError) as error:
            log.error("%s: cannot be used, formats have to be learnt again: %s", self._path, error)
            return {}
        return {format_signature(one): one for one in formats}

    def write(self, formats: Mapping[int, bytes]) -> None:
        """All of them, in the place of what was there."""
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps({"formats": [one.hex() for one in formats.values()]}), encoding="utf-8")
            new.replace(self._path)
        except OSError as error:
            log.error("learnt formats of short telegrams cannot be kept over a restart: %s", error)
