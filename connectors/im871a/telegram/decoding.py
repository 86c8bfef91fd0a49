"""The whole way of a telegram: layers, records, meaning."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from connectors.im871a.telegram import compact, layers, profile
from connectors.im871a.telegram.address import status_words
from connectors.im871a.telegram.fixed import open_fixed
from connectors.im871a.telegram.frames import strip_wired
from connectors.im871a.telegram.layers import PEEK, Layers, Opening
from connectors.im871a.telegram.layout import compile_header
from connectors.im871a.telegram.meters import Meter, known_formats, meter_for
from connectors.im871a.telegram.model import FormatUnknown, Header, Record, SeenFormat, Telegram
from connectors.im871a.telegram.records import (
    IDLE_FILLER,
    Coded,
    Content,
    LayoutOf,
    read_content,
    record_of,
    value_of,
)
from connectors.im871a.telegram.security import check_key
from wattbus.connector import Quantity
from wattbus.errors import DecodeError

NO_RECORDS = Content()
ERROR_FLAGS = "error_flags"
FILLERS = bytes([IDLE_FILLER, IDLE_FILLER])


def read_header(frame: bytes) -> Header:
    """See the package."""
    return layers.peel(frame, PEEK).header()


def read_link_header(frame: bytes) -> Header:
    """See the package."""
    return layers.peel_link(frame).header()


def decode_wired(data: bytes, key: bytes | None, *, accept_plain: bool) -> Telegram:
    """See the package."""
    control, primary, body = strip_wired(data)
    return Opened(layers.peel_wired(control, primary, body, _opening(key, accept_plain))).telegram(None)


def decrypt_frame(frame: bytes, key: bytes | None, *, accept_plain: bool) -> Opened:
    """See the package."""
    return Opened(layers.peel(frame, _opening(key, accept_plain)))


class Opened:
    """A frame without its layers: decrypted, and checked as far as it has checks."""

    def __init__(self, peeled: Layers) -> None:
        self._peeled = peeled
        address = peeled.meter
        known = meter_for(address.manufacturer, address.version, address.device_type)
        self._meter = None if peeled.kind == "fixed" else known
        self._content: Content | None = None

    def seen_format(self) -> SeenFormat | None:
        """The record format that the frame shows (full) or needs (compact); None where neither. Raises DecodeError."""
        kind = self._peeled.kind
        if kind == "full":
            content = self._without_format()
            return compact.format_of(content) if content.coded and not content.unreadable else None
        if kind == "compact":
            return SeenFormat(compact.needed_signature(_without_fillers(self._peeled)), None)
        return compact.format_in_format_frame(_without_fillers(self._peeled)) if kind == "format" else None

    def telegram(self, format_learnt: bytes | None = None) -> Telegram:
        """All that it says. `format_learnt` as in `decode` of the package. Raises DecodeError."""
        is_compact = self._peeled.kind == "compact"
        content = self._of_compact(format_learnt) if is_compact else self._without_format()
        return _telegram(self._peeled, self._meter, content)

    def _of_compact(self, format_learnt: bytes | None) -> Content:
        data = _without_fillers(self._peeled)
        if format_learnt is None:
            needed = compact.needed_signature(data)
            format_learnt = known_formats().get(needed)
            if format_learnt is None:
                raise FormatUnknown(needed)
        return compact.read_compact(data, format_learnt, self._layout_of)

    def _without_format(self) -> Content:
        if self._content is None:
            self._content = self._read()
        return self._content

    def _read(self) -> Content:
        peeled = self._peeled
        if peeled.kind == "fixed":
            return open_fixed(peeled)
        if peeled.kind == "manufacturer":
            return Content(manufacturer_data=peeled.content)
        if peeled.kind != "full":
            return NO_RECORDS
        if self._meter and self._meter.file.content == "manufacturer":
            return Content(manufacturer_data=peeled.content.lstrip(bytes([IDLE_FILLER])))
        return read_content(peeled.content, self._layout_of, high_first=peeled.high_first)

    @property
    def _layout_of(self) -> LayoutOf:
        return self._meter.layout_of if self._meter else compile_header


def _opening(key: bytes | None, accept_plain: bool) -> Opening:
    if key is not None:
        check_key(key)
    return Opening(key, accept_plain)


def _without_fillers(peeled: Layers) -> bytes:
    """Compact and format frames, alarms and errors start with a number: the fillers before it have to go.

    Encrypted content starts with two of them, and keeps them where somebody has decrypted it before. A number may be a
    filler's, so only pairs go: a signature is 2F 2F once in 65,536 formats.
    """
    content = peeled.content
    while content.startswith(FILLERS):
        content = content[len(FILLERS) :]
    return content


def _telegram(peeled: Layers, meter: Meter | None, content: Content) -> Telegram:
    unread: list[bytes] = []
    coded = list(meter.unfolded(content.coded)) if meter else content.coded
    records = tuple(_records(coded, unread))
    unreadable = b"".join(unread) + content.unreadable
    fields, counters = _fields(records, meter)
    if meter:
        fields.update(meter.tail_fields(content.manufacturer_data))
    status = _status_words(peeled, fields, meter)
    if status is not None:
        fields["status"] = Quantity(", ".join(status) or "ok", "", "what the meter says of itself")
    if peeled.kind in ("error", "alarm") and (code := _without_fillers(peeled)):
        name = "application_error" if peeled.kind == "error" else "alarm"
        fields[name] = Quantity(code[0], "", f"{name.replace('_', ' ')} code")
    if content.manufacturer_data:
        fields["manufacturer_data"] = Quantity(content.manufacturer_data.hex(), "", "the manufacturer's own data")
    if unreadable:
        fields["unreadable"] = Quantity(unreadable.hex(), "", "what no sense could be made of")
    name = meter.name if meter else ""
    return Telegram(
        peeled.header(), records, status or (), fields, content.manufacturer_data.hex(), name, frozenset(counters),
        unreadable.hex(),
    )  # fmt: skip


def _records(all_coded: list[Coded], unread: list[bytes]) -> Iterator[Record]:
    """The records; those that make no sense go to `unread`, and cost none of the others."""
    for n, coded in enumerate(all_coded):
        if coded.layout.profile and coded.layout.standard:
            try:
                expanded = list(profile.expand(coded, all_coded[:n]))
            except DecodeError:
                unread.append(coded.raw)
                continue
            for layout, value in expanded:
                yield record_of(layout, value, b"")
        else:
            yield record_of(coded.layout, value_of(coded), coded.raw)


def _fields(records: Iterable[Record], meter: Meter | None) -> tuple[dict[str, Quantity], list[str]]:
    """The fields, and which of them only rise."""
    fields: dict[str, Quantity] = {}
    counters = []
    for record in records:
        if not record.has_value:
            continue
        name = meter.field_name(record.name) if meter else record.name
        if name in fields:
            name = _free_name(name, fields)
        fields[name] = Quantity(record.value, record.unit, record.description)
        if record.counts:
            counters.append(name)
    return fields, counters


def _free_name(name: str, fields: dict[str, Quantity]) -> str:
    """A telegram may say the same twice: the second one is `…_2`."""
    n = 2
    while f"{name}_{n}" in fields:
        n += 1
    return f"{name}_{n}"


def _status_words(peeled: Layers, fields: Mapping[str, Quantity], meter: Meter | None) -> tuple[str, ...] | None:
    """What the status byte and the fields of flags say; None if there are neither."""
    told = peeled.status is not None
    words = list(status_words(peeled.status or 0))
    if meter:
        words = [meter.status_word(word) for word in words]
    for name, quantity in fields.items():
        if meter and meter.has_flags(name):
            told = True
            words += meter.flag_words(name, quantity.value) if isinstance(quantity.value, int) else ()
        elif name.startswith(ERROR_FLAGS):
            told = True
            words += (name,) if quantity.value else ()
    return tuple(dict.fromkeys(words)) if told else None
