"""Wrong settings are refused before anything is contacted, and say which one and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.socket.connector import create, framing_of
from connectors.socket.settings import Settings
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

ROOM = Path(__file__).parents[3] / "connectors" / "socket"
CLIENT = {"SERVER_IP": "192.0.2.1", "SERVER_PORT": "587"}


def loaded(**variables: str) -> Settings:
    return load(Settings, {"CONNECTOR_NAME": "line", **variables})


def fault(**variables: str) -> str:
    with pytest.raises(ConfigError) as caught:
        create(loaded(**variables))
    return str(caught.value)


def test_bemcoms_variables_are_taken_as_they_are() -> None:
    settings = loaded(
        CONNECTOR_NAME="brand-new-connector",
        MQTT_BROKER_HOST="broker.domain.de",
        MQTT_BROKER_PORT="1883",
        SEND_RAW_MESSAGE_TO_DB="TRUE",
        DEBUG="TRUE",
        SERVER_IP="192.168.0.55",
        SERVER_PORT="587",
        RECV_BUFSIZE="1024",
        RECV_TIMEOUT="15",
        PARSE_AS="YAML",
    )
    assert (settings.mode, settings.format, settings.framing) == ("client", "YAML", "yaml")
    assert framing_of(settings).limit == 1024
    assert settings.recv_timeout == 15
    create(settings)


def test_bemcoms_defaults() -> None:
    settings = loaded(**CLIENT)
    assert (settings.format, settings.framing, settings.recv_bufsize, settings.recv_timeout) == (
        "JSON",
        "json",
        4096,
        60,
    )


def test_without_a_server_it_listens_as_oemgateway_does() -> None:
    settings = loaded()
    assert (settings.mode, settings.listen_host, settings.listen_port) == ("listener", "0.0.0.0", 50011)
    assert (settings.format, settings.framing) == ("VALUES", "line")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({**CLIENT, "PARSE_AS": "json"}, ("client", "JSON", "json")),
        ({**CLIENT, "PARSE_AS": "VALUES"}, ("client", "VALUES", "line")),
        ({**CLIENT, "SOCKET_FRAMING": "length"}, ("client", "JSON", "length")),
        ({**CLIENT, "SOCKET_MODE": ""}, ("client", "JSON", "json")),
        ({"SOCKET_MODE": "udp"}, ("udp", "VALUES", "line")),
        ({"SOCKET_MODE": "udp", "PARSE_AS": "JSON"}, ("udp", "JSON", "pause")),
        ({"LISTEN_PORT": "7000", "PARSE_AS": "JSON"}, ("listener", "JSON", "json")),
    ],
)
def test_mode_format_and_framing_follow_from_each_other(
    variables: dict[str, str], expected: tuple[str, str, str]
) -> None:
    settings = loaded(**variables)
    assert (settings.mode, settings.format, settings.framing) == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SERVER_IP": "a"}, "SERVER_PORT is required for a client"),
        ({"SOCKET_MODE": "client"}, "SERVER_IP is required for a client"),
        ({"SERVER_PORT": "5"}, "SERVER_PORT is for SOCKET_MODE=client, and this is a listener"),
        ({**CLIENT, "SOCKET_MODE": "udp"}, "SERVER_IP is for SOCKET_MODE=client, and this is a udp"),
        ({**CLIENT, "LISTEN_PORT": "5"}, "SERVER_IP and LISTEN_PORT are both set: choose with SOCKET_MODE"),
        ({"SERVER_IP": "http://a", "SERVER_PORT": "1"}, "SERVER_IP: expected an address or a host name alone"),
        ({"SERVER_IP": "a b", "SERVER_PORT": "1"}, "SERVER_IP: expected an address or a host name alone"),
        ({**CLIENT, "SERVER_PORT": "0"}, "SERVER_PORT: Input should be greater"),
        ({**CLIENT, "RECV_TIMEOUT": "nan"}, "RECV_TIMEOUT: Input should be a finite number"),
        ({**CLIENT, "RECV_BUFSIZE": "0"}, "RECV_BUFSIZE: Input should be greater"),
        ({**CLIENT, "PARSE_AS": "XML"}, "PARSE_AS: Input should be 'JSON', 'YAML', 'VALUES', 'NUMBERS' or 'PAIRS'"),
        ({"SOCKET_FRAMING": "json"}, "SOCKET_FRAMING: json does not fit PARSE_AS=VALUES (of: line, length, pause)"),
        ({**CLIENT, "SOCKET_FRAMING": "yaml"}, "SOCKET_FRAMING: yaml does not fit PARSE_AS=JSON (of: line"),
        ({**CLIENT, "SOCKET_FRAMING": "pause", "SOCKET_PAUSE_SECONDS": "0"}, "SOCKET_PAUSE_SECONDS: SOCKET_FRAMING"),
        ({"SOCKET_ALLOWED_NETWORKS": "home"}, "SOCKET_ALLOWED_NETWORKS: 'home' is no network (192.168.0.0/24) and no"),
        ({"SOCKET_ALLOWED_NETWORKS": "{}"}, "SOCKET_ALLOWED_NETWORKS: expected networks"),
        ({"LISTEN_APIKEY": "short"}, "LISTEN_APIKEY: expected one word of at least 8 characters"),
        ({"LISTEN_APIKEY": "0123456789", "PARSE_AS": "JSON"}, "LISTEN_APIKEY: only for devices that send lines"),
        ({"SOCKET_ENCODING": "utf-16"}, "SOCKET_ENCODING: 'utf-16' is no encoding that extends ASCII"),
        ({"SOCKET_ENCODING": "latin9x"}, "SOCKET_ENCODING: 'latin9x' is no encoding that extends ASCII"),
        ({"SOCKET_ENCODING": "hex"}, "SOCKET_ENCODING: 'hex' is no encoding that extends ASCII"),
        ({"SOCKET_MAX_CLIENTS": "0"}, "SOCKET_MAX_CLIENTS: Input should be greater"),
        ({"SOCKET_MAX_MESSAGES_PER_SECOND": "0"}, "SOCKET_MAX_MESSAGES_PER_SECOND: Input should be greater"),
        ({"SOCKET_NODES_ONLY": "TRUE"}, "SOCKET_NODES_ONLY: without SOCKET_NODES nobody would be heard"),
        ({"SOCKET_NODES": '{"x": {}}'}, "SOCKET_NODES.x.[key]: Input should be a valid integer"),
        ({"SOCKET_NODES": '{"5": {"scale": 1}}'}, "SOCKET_NODES.5.scale: Extra inputs are not permitted"),
        ({"SOCKET_NODES": '{"5": {"names": ["a", "a"]}}'}, "SOCKET_NODES.5: names: 'a' is there twice"),
        ({"SOCKET_NODES": '{"5": {"names": ["2"]}}'}, "SOCKET_NODES.5: names: '2' is the key of value 2"),
        ({"SOCKET_NODES": '{"5": {"name": "a"}, "6": {"name": "a"}}'}, "SOCKET_NODES: 'a' is the name of two nodes"),
        ({"SOCKET_NODES": '{"5": {"name": "6"}}'}, "SOCKET_NODES: node 5: the name '6' is the key of another node"),
    ],
)  # fmt: skip
def test_wrong_settings(variables: dict[str, str], expected: str) -> None:
    assert expected in fault(**variables)


def test_nodes_may_be_written_as_yaml() -> None:
    settings = loaded(SOCKET_NODES="10:\n  name: emontx3\n  names: [power1]\n  scales: [0.1]\n  silence_seconds: 60\n")
    assert settings.socket_nodes[10].scales == (0.1,)


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("192.168.0.5/24, 10.1.2.3", ["192.168.0.0/24", "10.1.2.3/32"]),
        ("fd00::/8 127.0.0.1", ["fd00::/8", "127.0.0.1/32"]),
        ('["192.168.7.0/24"]', ["192.168.7.0/24"]),
        ("all", ["0.0.0.0/0", "::/0"]),
    ],
)
def test_networks_may_be_written_in_several_ways(text: str, networks: list[str]) -> None:
    assert [str(network) for network in loaded(SOCKET_ALLOWED_NETWORKS=text).socket_allowed_networks] == networks


def test_the_key_of_the_listener_is_a_secret() -> None:
    settings = loaded(LISTEN_APIKEY="0123456789abcdef0123456789abcdef")
    assert "0123456789abcdef" not in repr(settings)


def test_the_env_example_is_complete_and_loads() -> None:
    path = ROOM / ".env.example"
    settings = load(Settings, read_env_file(path))
    create(settings)
    text = path.read_text()
    own = set(Settings.model_fields) - {"service_name"}
    assert [name for name in sorted(own) if name.upper() not in text] == []
    assert unknown_variables(Settings, set(read_env_file(path))) == {}
    assert all(field.description for field in Settings.model_fields.values())


def test_every_commented_line_of_the_env_example_shows_the_default() -> None:
    text = (ROOM / ".env.example").read_text()
    shown = dict(
        line[1:].split("=", 1) for line in text.splitlines() if line.startswith("#") and "=" in line.split(" ")[0]
    )
    examples = {"SERVER_IP", "SERVER_PORT", "SOCKET_NODES"}
    given = {name: value.strip("'") for name, value in shown.items() if value and name not in examples}
    defaults, made = loaded(), load(Settings, {"CONNECTOR_NAME": "line", **given})
    assert made.model_dump() == defaults.model_dump()
    sample = load(Settings, {"CONNECTOR_NAME": "line", "SOCKET_NODES": shown["SOCKET_NODES"].strip("'")})
    assert sample.socket_nodes[10].name == "emontx3"
