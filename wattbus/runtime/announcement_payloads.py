"""The two messages that say which datapoints a connector has, kept in pieces so that a change costs its own piece."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pydantic import ValidationError

from wattbus.connector import Datapoint, DatapointType
from wattbus.jsontext import dumps
from wattbus.mqtt.messages import AvailableDatapoints, DatapointDescription

log = logging.getLogger(__name__)

Identity = tuple[DatapointType, str]


class _Piece(NamedTuple):
    description: bytes  # an element of `${C}/datapoints`
    example: bytes  # a member of a map in `${C}/available_datapoints`


class AnnouncementPayloads:
    """`datapoint_and_topic` gives what is known of a datapoint when its piece is made."""

    def __init__(self, datapoint_and_topic: Callable[[Identity], tuple[Datapoint, str]]) -> None:
        self._datapoint_and_topic = datapoint_and_topic
        self._pieces: dict[Identity, _Piece | None] = {}
        self._outdated: dict[Identity, None] = {}  # an ordered set

    def outdated(self, identities: Iterable[Identity]) -> None:
        """These are new, described anew, or have another topic."""
        self._outdated.update(dict.fromkeys(identities))

    def make_pieces(self, at_most: int | None = None) -> bool:
        """Make outdated pieces anew; whether some are left."""
        most = len(self._outdated) if at_most is None else at_most
        for identity in [identity for identity, _ in zip(self._outdated, range(most), strict=False)]:
            del self._outdated[identity]
            self._pieces[identity] = self._piece(identity)
        return bool(self._outdated)

    def _piece(self, identity: Identity) -> _Piece | None:
        datapoint, topic = self._datapoint_and_topic(identity)
        try:
            return _Piece(_description(datapoint, topic), _example(datapoint))
        except (ValidationError, ValueError) as error:  # the former is one of the latter, today
            log.error("the datapoint %r cannot be described, and is not announced: %s", datapoint.key, error)
            return None

    def descriptions(self) -> bytes:
        """The payload of `${C}/datapoints`."""
        self.make_pieces()
        return b"[" + b",".join(piece.description for piece in self._pieces.values() if piece) + b"]"

    def available(self) -> bytes:
        """The payload of `${C}/available_datapoints`."""
        self.make_pieces()
        members: dict[DatapointType, list[bytes]] = {"sensor": [], "actuator": []}
        for (kind, _), piece in self._pieces.items():
            if piece is not None:
                members[kind].append(piece.example)
        maps = [dumps(kind) + b":{" + b",".join(examples) + b"}" for kind, examples in members.items()]
        return b"{" + b",".join(maps) + b"}"


def _description(datapoint: Datapoint, topic: str) -> bytes:
    given = {
        name: list(value) if isinstance(value, tuple) else value
        for name in _NAMES
        if (value := getattr(datapoint, name)) not in (None, "") or name == "key"
    }
    if datapoint.repeatable:  # the usual thing is left out
        del given["repeatable"]
    return dumps(DatapointDescription.model_validate({**given, "topic": topic}).model_dump(exclude_unset=True))


def _example(datapoint: Datapoint) -> bytes:
    alone = AvailableDatapoints(sensor={datapoint.key: datapoint.example_value}, actuator={})
    return dumps(alone.sensor)[1:-1]


_NAMES = [field.name for field in dataclasses.fields(Datapoint) if field.name in DatapointDescription.model_fields]
