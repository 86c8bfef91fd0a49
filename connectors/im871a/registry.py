"""The meters that are listened to, found by what a telegram says of itself; they may change at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from connectors.im871a.meters_config import MeterConfig
from connectors.im871a.telegram import Header


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter that is listened to. `id` is how it was configured: the first part of its datapoints' keys.

    `silent_s`: when it counts as away (s), where it was told for this meter; 0 never.
    """

    id: str
    key: bytes | None = field(repr=False)
    name: str
    silent_s: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Meters that are not listened to any more, and those that have another key now."""

    gone: frozenset[str]
    rekeyed: frozenset[str]


class MeterRegistry:
    """Meters from several sources. Where several name the same meter, what a later one of `sources` says of it counts,
    and what it leaves open is taken from the ones before.

    Looking one up costs the same at any number of meters. `on_change` is called after every change.
    """

    def __init__(self, sources: tuple[str, ...], on_change: Callable[[Change], None] = lambda change: None) -> None:
        self.on_change = on_change
        self._by_source: dict[str, dict[str, MeterConfig]] = {source: {} for source in sources}
        self._meters: dict[str, Meter] = {}

    def __len__(self) -> int:
        return len(self._meters)

    @property
    def ids(self) -> list[str]:
        return list(self._meters)

    @property
    def meters(self) -> Iterable[Meter]:
        return self._meters.values()

    def find(self, header: Header) -> Meter | None:
        """The meter that a telegram comes from: its own number, else that of the radio module that speaks for it."""
        return (
            self._meters.get(f"{header.manufacturer}-{header.id}")
            or self._meters.get(header.id)
            or self._meters.get(header.sender_id)
        )

    def get(self, meter_id: str) -> Meter | None:
        return self._meters.get(meter_id)

    def replace(self, source: str, meters: Mapping[str, MeterConfig]) -> None:
        """All meters of one source."""
        if self._by_source[source] == meters:
            return
        self._by_source[source] = dict(meters)
        before, self._meters = self._meters, self._merged()
        if before != self._meters:
            common = before.keys() & self._meters.keys()
            rekeyed = frozenset(id_ for id_ in common if before[id_].key != self._meters[id_].key)
            self.on_change(Change(frozenset(before.keys() - self._meters.keys()), rekeyed))

    def _merged(self) -> dict[str, Meter]:
        merged: dict[str, Meter] = {}
        for configs in self._by_source.values():
            for id_, config in configs.items():
                before = merged.get(id_, Meter(id_, None, ""))
                merged[id_] = Meter(
                    id_,
                    config.key_bytes or before.key,
                    config.name or before.name,
                    before.silent_s if config.silent_seconds is None else config.silent_seconds,
                )
        return merged
