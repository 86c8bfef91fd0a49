"""The way up: from a raw message to the reading on `${C}/values` and the state topics."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wattbus import __version__, metrics
from wattbus.clock import Clock
from wattbus.connector import Connector, Reading, Scalar
from wattbus.errors import DecodeError
from wattbus.flattening import flatten, raw_fault
from wattbus.jsontext import JsonValue, dumps
from wattbus.mqtt.messages import Quality, RawMessage
from wattbus.runtime.datapoint_registry import DatapointRegistry
from wattbus.runtime.link_supervisor import Decoded
from wattbus.runtime.outbox_publisher import OutboxPublisher
from wattbus.runtime.readings import Plausibility, TimestampAllocator
from wattbus.runtime.state_topics import StateTopics
from wattbus.service.future_times import FutureTimes

log = logging.getLogger(__name__)

READINGS = metrics.counter("readings", "Readings taken from the device.")
RAW_MESSAGES = metrics.counter("raw_messages", "Raw messages taken from the device.")
DECODE_ERRORS = metrics.counter("decode_errors", "Raw messages that made no sense.")
BAD_RAW_MESSAGES = metrics.counter("bad_raw_messages", "Raw messages that are not JSON and could not be published.")
BAD_VALUES = metrics.counter("bad_values", "Values in readings that no datapoint can have.")


class ReadingPipeline:
    """Takes the raw messages of one connector. `raw_sender` None: raw messages are not published."""

    def __init__(
        self,
        name: str,
        connector: Connector,
        catalogue: DatapointRegistry,
        sender: OutboxPublisher,
        raw_sender: OutboxPublisher | None,
        state: StateTopics,
        future: FutureTimes,
        clock: Clock,
        discovered: Callable[[], None],
    ) -> None:
        self._name = name
        self._connector = connector
        self._catalogue = catalogue
        self._sender = sender
        self._raw_sender = raw_sender
        self._state = state
        self._future = future
        self._clock = clock
        self._discovered = discovered
        self._stamps = TimestampAllocator()
        self._plausibility = Plausibility()
        self._decode_errors = 0
        self._bad_raw = 0

    def emit(self, raw: JsonValue, timestamp_ms: int | None = None) -> Decoded:
        """Publish raw, if asked, then decode; a message that makes no sense is kept raw, counted, and that is all."""
        in_doubt = timestamp_ms is not None and self._future.is_beyond(self._name, timestamp_ms)
        received_ms = self._clock.now_ms() if timestamp_ms is None or in_doubt else timestamp_ms
        RAW_MESSAGES.labels(self._name).inc()
        if self._raw_sender is not None:
            self._publish_raw(self._raw_sender, raw, received_ms)
        try:
            readings = list(self._connector.decode(raw))
        except DecodeError as error:
            self._count_decode_error(str(error))
            return Decoded(0, str(error) or "no reason given")
        except Exception:  # noqa: BLE001 - a bug in a decoder must not cost the next message
            metrics.BUGS.labels(self._name, "decode").inc()
            self._count_decode_error("a bug in the decoder", traceback=True)
            return Decoded(0, "a bug in the decoder")
        return Decoded(sum(self._take(reading, received_ms, in_doubt) for reading in readings))

    def _publish_raw(self, sender: OutboxPublisher, raw: JsonValue, received_ms: int) -> None:
        """What is not JSON is left out and counted; its values may be sound all the same."""
        if fault := raw_fault(raw):
            BAD_RAW_MESSAGES.labels(self._name).inc()
            self._bad_raw += 1
            if self._bad_raw == 1 or self._bad_raw % 100 == 0:
                log.warning("a raw message is not JSON and is not published (%d so far): %s", self._bad_raw, fault)
            return
        message = RawMessage(raw_message=raw, timestamp=received_ms, connector_version=__version__)
        sender.put(lambda _: message.payload())

    def _count_decode_error(self, reason: str, traceback: bool = False) -> None:
        DECODE_ERRORS.labels(self._name).inc()
        self._decode_errors += 1
        if self._decode_errors == 1 or self._decode_errors % 100 == 0:
            log.warning("cannot decode raw message (%d so far): %s", self._decode_errors, reason, exc_info=traceback)

    def _take(self, reading: Reading, received_ms: int, in_doubt: bool) -> int:
        """How many values the reading has. `in_doubt`: the time of the raw message was not to be believed."""
        READINGS.labels(self._name).inc()
        flat = flatten(reading)
        if flat.faults:
            BAD_VALUES.labels(self._name).inc(len(flat.faults))
            log.debug("values left out: %s", "; ".join(flat.faults))
        if self._catalogue.discover(flat.sensors):
            self._discovered()
        if reading.timestamp_ms is None:
            values, stamp = flat.values, self._stamps.received(flat.values, received_ms)
        else:
            in_doubt = self._future.is_beyond(reading.device or self._name, reading.timestamp_ms)
            if in_doubt:
                stamp, values = self._stamps.arrived(flat.values, reading.timestamp_ms, received_ms)
            else:
                stamp, values = self._stamps.own(flat.values, reading.timestamp_ms)
            self._state.repeated(flat.values.keys() - values.keys())
        topics = {key: topic for key in values if (topic := self._catalogue.topic_of(key)) is not None}
        if topics:
            own: Quality | None = "implausible" if in_doubt else "unverified" if reading.is_unverified else None
            self._publish({key: values[key] for key in topics}, topics, stamp, own)
        return len(flat.values)

    def _publish(self, values: dict[str, Scalar], topics: dict[str, str], stamp: int, own: Quality | None) -> None:
        """`own` is the quality of the reading as a whole, None: it is good; each value may be worse."""
        quality: dict[str, Quality] = {}
        for key, value in values.items():
            judged = self._plausibility.quality(self._catalogue.sensor(key), value, stamp) or own
            if judged is not None:
                quality[key] = judged

        def message(sequence: int) -> bytes:
            content = {"session": self._sender.session, "sequence": sequence, "timestamp": stamp, "values": values}
            return dumps({**content, "quality": quality} if quality else content)

        sequence = self._sender.put(message)
        for key, topic in topics.items():
            self._state.update(key, topic, values[key], stamp, sequence, quality.get(key))
