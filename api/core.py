"""All that the API can do, without HTTP: what REST, WebSocket and the page in this process are made of."""

from __future__ import annotations

from dataclasses import dataclass

from api.changes import Changes
from api.commands import Commands
from api.control import ControlKeeper
from api.directory import DatapointDirectory
from api.editing import Editing
from api.history import History
from api.live import Live
from api.maps import MapKeeper
from api.raw import RawMessages
from api.reading import FILTERS, STATE_FILTERS, BusReader
from api.settings import Settings
from wattbus.clock import SYSTEM_CLOCK, Clock
from wattbus.mqtt.client import MqttClient
from wattbus.recording.database_session import Database
from wattbus.service.status_publisher import StatusPublisher
from wattbus.storage import EditableStore, open_editable_store

MOST_AT_ONCE = 200  # deliveries that are read before others get a turn


@dataclass(frozen=True, slots=True)
class Core:
    """The parts, put together.

    `live` tells what the bus says now and `changes` when that changes; `directory.datapoints` are the datapoints;
    `commands` sets values, setpoints and schedules; `history` reads the database; `editing`, `maps` and `control` hold
    what people decide.
    """

    settings: Settings
    clock: Clock
    bus: MqttClient
    status_publisher: StatusPublisher
    database: Database[EditableStore]
    changes: Changes
    live: Live
    directory: DatapointDirectory
    commands: Commands
    history: History
    maps: MapKeeper
    editing: Editing
    control: ControlKeeper
    raw: RawMessages

    async def read_bus(self) -> None:
        """Take in what the bus says, for ever."""
        reader = BusReader(self.live, self.settings.name, self.clock)
        while True:
            for delivery in await self.bus.next_deliveries(MOST_AT_ONCE):
                delivery.acknowledge()
                reader.read(delivery)
            await self.clock.sleep(0)

    async def watch_lives(self) -> None:
        """Notice whose heartbeat is overdue, for ever."""
        while True:
            await self.clock.sleep(1.0)
            self.live.look_at_lives()

    async def close(self) -> None:
        """Let go of the databases."""
        await self.raw.close()
        await self.database.close()

    async def subscribe(self) -> None:
        """Register for what the live model is made of, before the bus runs."""
        await self.bus.subscribe(FILTERS)
        await self.bus.subscribe(STATE_FILTERS, qos=0)
        self.bus.on_connect(self._connected)

    async def _connected(self) -> None:
        self.live.bus_is(True)


def create_core(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> Core:
    """Put the parts together; nothing runs yet."""
    status_publisher = StatusPublisher(settings.name, clock=clock)
    bus = MqttClient(settings, settings.name, will=status_publisher.will)
    status_publisher.attach(bus)  # before the others: when it was told, what the broker retains has arrived
    database = Database(settings.url, status_publisher, open_editable_store, clock=clock)
    changes = Changes()
    live = Live(changes, clock)
    bus.on_disconnect(lambda: live.bus_is(False))
    directory = DatapointDirectory(live, database, clock)
    maps = MapKeeper(live, directory, bus, clock)
    return Core(
        settings=settings,
        clock=clock,
        bus=bus,
        status_publisher=status_publisher,
        database=database,
        changes=changes,
        live=live,
        directory=directory,
        commands=Commands(
            live, bus, clock, wait_s=settings.command_wait_seconds, expiry_s=settings.command_expiry_seconds
        ),
        history=History(live, database),
        maps=maps,
        editing=Editing(directory, database, maps),
        control=ControlKeeper(live, directory, database, bus),
        raw=RawMessages(settings.raw_url),
    )
