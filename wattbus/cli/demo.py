"""`wattbus demo`: a simulated room with a heat pump and everything around it, in one process."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import socket
import sys
from pathlib import Path

from wattbus.cli.broker import only_user
from wattbus.cli.commands import Commands, command
from wattbus.cli.suite import Suite
from wattbus.cli.up import run_directory, summary, watch_line
from wattbus.clock import SYSTEM_CLOCK
from wattbus.errors import ConfigError
from wattbus.mqtt.embedded_broker import free_port
from wattbus.settings import read_env_file

CONNECTOR = "heatpump"
SETPOINT_TOPIC = f"{CONNECTOR}/messages/write_register__1__1-set/value"
RESULT_TOPIC = f"{CONNECTOR}/messages/write_register__1__1-set/result"

# The demo device's registers; its half floats have their bytes in little-endian order, as BEMCom's has them.
REGISTERS = {
    "read_input_registers": [
        {"address": 1, "count": 1, "unit": 1, "datatypes": "<e",
         "units": {"1": "Cel"}, "descriptions": {"1": "Room temperature"}},
        {"address": 10, "count": 2, "unit": 1, "datatypes": ">f",
         "units": {"10": "Cel"}, "descriptions": {"10": "Outside temperature"}},
        {"address": 12, "count": 2, "unit": 1, "datatypes": ">f",
         "units": {"12": "W"}, "descriptions": {"12": "Electrical power of the heat pump"}},
        {"address": 16, "count": 2, "unit": 1, "datatypes": ">I",
         "units": {"16": "W.h"}, "descriptions": {"16": "Electrical energy of the heat pump"}},
    ],
    "read_holding_registers": [
        {"address": 1, "count": 1, "unit": 1, "datatypes": "<e",
         "units": {"1": "Cel"}, "descriptions": {"1": "Setpoint, as the device has it"}},
    ],
    "write_register": [
        {"address": 1, "unit": 1, "datatypes": "<e", "example_value": "22.0", "unit_of_measure": "Cel",
         "description": "Setpoint of the room", "min_value": 15, "max_value": 30},
    ],
}  # fmt: skip

PAIR = {"sensor": f"{CONNECTOR}/read_input_registers__1__1", "actuator": f"{CONNECTOR}/write_register__1__1"}
DEVICE_FILE, CONNECTOR_FILE, API_FILE = "demo_device.env", "modbus_tcp.heatpump.env", "api.env"
USUAL_PAGE_PORT = 8080
NOTE = "# Written anew at each start of the demo. Copy the folder to change it; `wattbus up FOLDER` runs it.\n"


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "demo",
        "everything at once, with a simulated room",
        "Run a simulated room with a heat pump (Modbus/TCP), its connector, a broker, history, the raw message\n"
        "database, the controller, REST and the page, and say what to try. The folder holds the settings of each, to\n"
        "look at and to copy.",
        "  wattbus demo --time-factor 600",
        execute,
    )
    parser.add_argument("--directory", type=Path, default=Path("data/demo"), help="working folder (%(default)s)")
    parser.add_argument(
        "--time-factor",
        type=_positive,
        default=60.0,
        metavar="N",
        help="seconds that pass in the room for each second on the clock (%(default)g)",
    )
    parser.add_argument("--poll-seconds", type=_positive, default=1.0, metavar="S", help="time between polls (1)")
    parser.add_argument(
        "--for", dest="seconds", type=_positive, metavar="SECONDS", help="end by itself after this time"
    )


def execute(arguments: argparse.Namespace) -> int:
    with only_user(arguments.directory / "data"):  # else the files of a demo that runs would change under it
        write_files(arguments.directory, arguments.time_factor, arguments.poll_seconds)

    def started(suite: Suite, health_address: str) -> None:
        summary(suite, health_address)
        _say_what_to_try(suite)

    run_directory(arguments.directory, started, arguments.seconds)
    return 0


def write_files(directory: Path, time_factor: float, poll_seconds: float) -> None:
    """Write the env files of the demo. Raises ConfigError when the folder cannot be written."""
    port = _port_of_last_time(directory / DEVICE_FILE, "DEMO_DEVICE_PORT")
    page_port = _port_of_last_time(directory / API_FILE, "API_PORT", USUAL_PAGE_PORT)
    files = {
        "common.env": "# What all services share. Without MQTT_BROKER_HOST a Mosquitto is started with them.\n"
        "LOGLEVEL=INFO\n",
        DEVICE_FILE: f"DEMO_DEVICE_PORT={port}\nTIME_FACTOR={time_factor:g}\n",
        CONNECTOR_FILE: f"CONNECTOR_NAME={CONNECTOR}\nPOLL_SECONDS={poll_seconds:g}\nMODBUS_MASTER_IP=127.0.0.1\n"
        f"MODBUS_MASTER_PORT={port}\nMODBUS_RETRY_WAIT_SECONDS=1\nSEND_RAW_MESSAGE_TO_DB=TRUE\n"
        f"MODBUS_CONFIG='{_registers_as_text()}'\n",
        "history.env": "# The database is history.db in the data folder, unless DATABASE_URL says something else.\n",
        "raw_db.env": "# The database is raw.db in the data folder; `wattbus raw` shows what is in it.\n",
        "controller.env": f"CONTROLLED_DATAPOINTS='{json.dumps([PAIR])}'\n",
        API_FILE: f"API_PORT={page_port}\n",
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(NOTE + text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--directory: cannot write into {directory}: {error.strerror}") from None


def _registers_as_text() -> str:
    """One entry per line: people read it."""
    methods = []
    for method, entries in REGISTERS.items():
        lines = ",\n".join(f"    {json.dumps(entry)}" for entry in entries)
        methods.append(f'  "{method}": [\n{lines}\n  ]')
    return "{\n" + ",\n".join(methods) + "\n}"


def _port_of_last_time(file: Path, variable: str, usual: int | None = None) -> int:
    """The port of the last time if it is free: what people typed yesterday works today. Else the usual one, or any."""
    with contextlib.suppress(ValueError, ConfigError):
        if _is_free(port := int(read_env_file(file).get(variable, ""))):
            return port
    return usual if usual is not None and _is_free(usual) else free_port()


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _say_what_to_try(suite: Suite) -> None:
    host, port = suite.broker
    device = read_env_file(suite.directory / DEVICE_FILE)["DEMO_DEVICE_PORT"]
    page = f"http://127.0.0.1:{read_env_file(suite.directory / API_FILE)['API_PORT']}"
    command = json.dumps({"value": 19.5, "timestamp": SYSTEM_CLOCK.now_ms()})
    print(f"""
The page: {page}/ (REST: {page}/docs)
  Open heatpump's setpoint there, set what you want with its tolerance, draw a schedule, and watch the room follow.

The room is at 127.0.0.1:{device} (Modbus/TCP, unit 1), the values go to
  {suite.common.data_directory / "history.db"}, the raw messages to raw.db beside it.
In another terminal, watch everything on the bus, or a live table of the values:
  {watch_line(suite)}
  {_own_command()} datapoints --port {port}
Set another temperature; its outcome comes on {RESULT_TOPIC}:
  mosquitto_pub -h {host} -p {port} -q 1 -t {SETPOINT_TOPIC} \\
    -m '{command}'
Ask the device without us (its half floats come as 16-bit words):
  mbpoll -m tcp -p {device} -a 1 -0 -t 3 -r 1 -1 127.0.0.1
""", flush=True)  # fmt: skip


def _own_command() -> str:
    return "wattbus" if shutil.which("wattbus") else sys.argv[0]


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("a number above 0 is expected")
    return number
