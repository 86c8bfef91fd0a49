"""ReCalc's meters over a restart: a file of the connector's own, which nobody else may read."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from connectors.im871a.recalc_command import Wanted, read_meter

log = logging.getLogger(__name__)


class RecalcState:
    """In `path`, mode 0600: it holds keys. When that fails it is told, and ReCalc has to send its meters again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def recall(self) -> dict[str, Wanted]:
        """The meters by number."""
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            meters = [read_meter(entry) for entry in kept["meters"]]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, LookupError) as error:
            log.error("%s: cannot be used, ReCalc has to send its meters again: %s", self._path, type(error).__name__)
            return {}
        return {meter.number: meter for meter in meters}

    def keep(self, wanted: Iterable[Wanted]) -> None:
        kept = {"meters": [_as_in_a_command(meter) for meter in wanted]}
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(kept, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            log.error("ReCalc's meters cannot be kept over a restart: %s", error)


def _as_in_a_command(meter: Wanted) -> dict[str, str]:
    key = meter.config.key
    return {
        "deviceId": meter.device_id,
        "manufacturerKey": meter.maker,
        "encryptionKey": key.get_secret_value() if key is not None else "",
        "manufacturerDeviceKey": meter.config.name,
    }
