"""Which datapoints a reading has that were not announced yet, or not like this."""

from __future__ import annotations

from connectors.im871a.telegram import Telegram
from wattbus.connector import DataFormat, Datapoint, Reading
from wattbus.flattening import format_of


class Announcements:
    """Tells counters from other values, and follows a meter's name. A value that was none at first is described anew
    when it is one.

    How often a meter is heard is left to `Quiet`, which marks all its values at once. An `expected_interval_s` here
    would also make the runtime open the stick again whenever no configured meter was heard for ten intervals, though
    the stick hears the neighbours' meters very well.
    """

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, DataFormat]] = {}

    def news(self, reading: Reading, telegram: Telegram) -> list[Datapoint]:
        """`reading` is the telegram's."""
        news = []
        for key, quantity in reading.values.items():
            description, data_format = self._told.get(key, ("", "unknown"))
            if description == quantity.description and (data_format != "unknown" or quantity.value is None):
                continue
            self._told[key] = quantity.description, format_of(quantity.value)
            news.append(
                Datapoint(
                    key,
                    data_format=format_of(quantity.value),
                    unit=quantity.unit,
                    description=quantity.description,
                    example_value=quantity.value,
                    device=reading.device,
                    counter=key.partition("__")[2] in telegram.counters,
                )
            )
        return news
