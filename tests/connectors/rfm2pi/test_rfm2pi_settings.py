"""Settings: OemGateway's names, emonHub's shapes, and faults that name what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.rfm2pi.connector import create
from connectors.rfm2pi.settings import THEIR_NAMES, Settings
from tests.connectors.rfm2pi.conftest import settings_for
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

ROOM = Path(__file__).parents[3] / "connectors" / "rfm2pi"


def faults(**variables: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        settings_for(**variables)
    return str(caught.value)


def test_nothing_but_a_name_is_needed() -> None:
    settings = load(Settings, {"CONNECTOR_NAME": "radio"})
    assert (settings.port.url, settings.port.baudrate) == ("/dev/ttyAMA0", 38400)
    create(settings)


def test_oemgateways_names_in_any_case() -> None:
    """The values of oemgateway.conf.dist, and of the example of its repeater."""
    given = {
        "com_port": "/dev/ttyUSB3",
        "SGROUP": "210",
        "Frequency": "4",
        "baseid": "15",
        "SendTimeInterval": "60",
        "port_nb": "50012",
        "com_baud": "9600",
    }
    settings = load(Settings, {"CONNECTOR_NAME": "radio", **given})
    assert (settings.port.url, settings.port.baudrate) == ("/dev/ttyUSB3", 9600)
    chosen = [settings.chosen(name) for name in dict.fromkeys(THEIR_NAMES.values())]
    assert chosen == ["/dev/ttyUSB3", 9600, 210, 433, 15, 60.0, 50012, None]
    assert unknown_variables(Settings, set(given)) == {}


def test_two_names_that_contradict_each_other() -> None:
    assert "SGROUP and RFM2PI_GROUP say different things" in faults(RFM2PI_GROUP="5", SGROUP="210")
    assert settings_for(RFM2PI_GROUP="210", SGROUP="210").chosen("rfm2pi_group") == 210


def test_emonhubs_names() -> None:
    """[openenergymonitor/emonhub, conf/emonhub.conf and docs of its serial interfacers.]"""
    given = {"group": "210", "quiet": "true", "interval": "300", "baseid": "5", "frequency": "433"}
    settings = load(Settings, {"CONNECTOR_NAME": "radio", **given})
    names = ("rfm2pi_group", "rfm2pi_quiet", "rfm2pi_time_seconds", "rfm2pi_base_id", "rfm2pi_frequency")
    assert [settings.chosen(name) for name in names] == [210, True, 300.0, 5, 433]
    assert settings.replaced() == []
    assert "SGROUP and GROUP say different things" in faults(GROUP="5", SGROUP="210")
    assert settings_for(GROUP="staff").chosen("rfm2pi_group") is None, "some shells have this variable"
    assert settings_for(FREQUENCY="4", RFM2PI_FREQUENCY="434").chosen("rfm2pi_frequency") == 433, "the same band"


def test_what_replaces_emonhubs_other_names(caplog: pytest.LogCaptureFixture) -> None:
    create(settings_for(NODEOFFSET="32", CALIBRATION="230V"))
    offset, calibration = (record.getMessage() for record in caplog.records)
    assert offset.startswith("NODEOFFSET is not here: nodes of two boards are told apart by CONNECTOR_NAME")
    assert calibration.startswith("CALIBRATION is not here: it is a setting of the emonPi's firmware")
    assert settings_for(NODEOFFSET="0").replaced() == [], "emonHub's own default"


@pytest.mark.parametrize(
    ("given", "megahertz"), [("4", 433), ("8", 868), ("9", 915), ("433", 433), ("868", 868), ("434", 434)]
)
def test_a_band_as_either_writes_it(given: str, megahertz: int) -> None:
    assert settings_for(RFM2PI_FREQUENCY=given).rfm2pi_frequency == megahertz


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("RFM2PI_FREQUENCY", "500", "RFM2PI_FREQUENCY: Input should be 433, 434, 868, 869 or 915"),
        ("FREQUENCY", "5", "FREQUENCY: Input should be 433, 434, 868, 869 or 915"),
        ("SGROUP", "256", "SGROUP: Input should be less than or equal to 255"),
        ("RFM2PI_BASE_ID", "0", "RFM2PI_BASE_ID: Input should be greater than or equal to 1"),
        ("COM_PORT", "ttyUSB0", "COM_PORT: 'ttyUSB0' is no serial port (did you mean /dev/ttyUSB0?)"),
        ("RFM2PI_TIME_ZONE", "Mars/Base", "RFM2PI_TIME_ZONE: there is no time zone 'Mars/Base'"),
        ("RFM2PI_REPEATER_PORT", "0", "RFM2PI_REPEATER_PORT: Input should be greater than or equal to 1"),
        ("RFM2PI_DATACODE", "z", "RFM2PI_DATACODE: 'z' is no data code"),
    ],
)
def test_a_wrong_setting_is_named(variable: str, value: str, fault: str) -> None:
    variables = {"CONNECTOR_NAME": "radio", variable: value}
    with pytest.raises(ConfigError) as caught:
        load(Settings, variables)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("nodes", "fault"),
    [
        ([], "RFM2PI_NODES: Input should be a valid dictionary"),
        ({"x": {}}, "'x' is no node id"),
        ({"300": {}}, "300 is no node id: 0 to 255"),
        ({"10": "emontx3"}, "RFM2PI_NODES.10: expected words such as name, decoder or datacodes"),
        ({"10": {"names": [True]}}, "RFM2PI_NODES.10.names[0]: in YAML on, off, yes and no mean true and false"),
        ({"10": {"color": "red"}}, "RFM2PI_NODES.10.color: Extra inputs are not permitted"),
        ({"10": {"datacodes": "h,x"}}, "RFM2PI_NODES.10.datacodes[1]: 'x' is no data code"),
        ({"10": {"datacodes": "h,0"}}, "0 can only be the datacode of all values"),
        ({"10": {"datacode": "h", "datacodes": "h"}}, "are both given"),
        ({"10": {"scale": 1, "scales": "1"}}, "are both given"),
        ({"10": {"scale": 0}}, "a scale of 0"),
        ({"10": {"datacodes": "h,h", "scales": "1,1,1"}}, "2 datacodes, but 3 scales"),
        ({"10": {"datacodes": "h,h", "names": "a,b,c"}}, "2 datacodes, but 3 names"),
        ({"10": {"datacodes": "h,h", "names": "a,a"}}, "names: a twice"),
        ({"10": {"datacodes": "h", "names": "rssi"}}, "rssi is the name of the signal strength"),
        ({"10": {"datacodes": "h", "names": "a__b"}}, "no double underscore"),
        ({"10": {"name": " "}}, "at least one character"),
        ({"10": {"name": "11"}}, "node 10 cannot be called '11'"),
        ({"10": {"name": "board"}}, "node 10 cannot be called 'board'"),
        ({"10": {"name": "tx"}, "11": {"name": "tx"}}, "nodes 10 and 11 are both called 'tx'"),
        ({"10": {"decoder": "emontx99"}}, "there is no ready decoder 'emontx99'; there are emonpi,"),
        ({"10": {"decoder": "emontx3", "scales": "1"}}, "decoder brings its own scales"),
        ({"10": {"datacodes": "h,h", "names": "2"}}, "value 1 cannot be called 2: that is the name of another one"),
        ({"10": {"datacodes": "h,h", "names": "a", "counters": "b"}}, "limits, counters: no value is called 'b'"),
        ({"10": {"datacodes": "h,h", "names": "a", "counters": "1"}}, "limits, counters: no value is called '1'"),
        ({"10": {"datacodes": "h,h", "limits": {"3": [0, 1]}}}, "limits, counters: no value is called '3'"),
        ({"10": {"limits": {"1": [2, 1]}}}, "limits are the lowest and the highest value"),
        ({"10": {"tx": {"datacodes": "b", "names": "a", "counters": "a"}}}, "counters are values that a node sends"),
        ({"10": {"tx": {"datacodes": "b", "names": "send"}}}, "send is the name of an actuator that every node has"),
        ({"10": {"tx": {"datacodes": "b,b", "names": "a"}}}, "tx needs datacodes and as many names"),
        ({"10": {"tx": {"names": "a"}}}, "tx needs datacodes and as many names"),
        ({"10": {"tx": {"datacodes": "b,b", "names": "a,b", "defaults": "1"}}}, "2 datacodes, but 1 defaults"),
    ],
)
def test_wrong_descriptions_of_nodes_are_explained(nodes: Any, fault: str) -> None:
    assert fault in faults(RFM2PI_NODES=nodes)


def test_a_node_may_be_in_the_list_and_nothing_more() -> None:
    node = settings_for(RFM2PI_NODES="10:\n11: {name: other}").nodes[10]
    assert (node.name, node.is_described, node.rx.codes, node.rx.repeats) == ("10", True, ("h",), True)


def test_limits_and_counters_are_those_of_values_by_their_name() -> None:
    nodes = "10: {datacodes: [h, h, L], names: [flow], limits: {flow: [0, 90], 2: [null, 5]}, counters: [3]}"
    rx = settings_for(RFM2PI_NODES=nodes).nodes[10].rx
    assert (rx.limits, rx.counters) == ({"flow": (0, 90), "2": (None, 5)}, {"3"})


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"RFM2PI_GROUP": "210"}, "RFM2PI_GROUP"),
        ({"sendtimeinterval": "60"}, "RFM2PI_TIME_SECONDS"),
        ({"RFM2PI_NODES": {"10": {"datacodes": "h"}}}, "RFM2PI_NODES.10.datacodes"),
        ({"RFM2PI_NODES": {"10": {"tx": {"datacodes": "h", "names": "a"}}}}, "RFM2PI_NODES.10.tx"),
    ],
)
def test_what_only_a_board_can_do_is_refused_where_there_is_none(variables: Any, names: str) -> None:
    with pytest.raises(ConfigError, match=rf"^RFM2PI_PLAIN: there is no radio board, so {names} cannot do anything"):
        create(settings_for(RFM2PI_PLAIN="TRUE", **variables))
    create(settings_for(RFM2PI_PLAIN="TRUE", RFM2PI_NODES={"10": {"names": "a", "scale": 10, "datacode": 0}}))


def test_emonhubs_shape_and_ours_say_the_same() -> None:
    ours = {"10": {"name": "tx", "names": ["a", "b"], "datacodes": ["h", "L"], "scales": [0.1, 1], "whitening": True}}
    emonhubs = {
        "10": {
            "nodename": "tx",
            "hardware": "emonTx",
            "rx": {"names": "a, b", "datacodes": "h, L,", "scales": "0.1,1", "whitening": "1"},
        }
    }
    yaml = "10: {nodename: tx, rx: {names: 'a, b', datacodes: 'h,L', scales: [0.1, 1], whitening: 1}}"
    described = [settings_for(RFM2PI_NODES=nodes).nodes.described for nodes in (ours, emonhubs, yaml)]
    assert described[0] == described[1] == described[2]


def test_the_nodes_in_the_readme_are_understood() -> None:
    written = (ROOM / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    nodes = settings_for(RFM2PI_NODES=written).nodes.described
    assert {node.name for node in nodes.values()} == {"emontx3", "boiler", "display"}
    assert nodes[30].rx.limits["return"] == (0, 95)


def test_the_example_file_is_complete_and_loads() -> None:
    example = ROOM / ".env.example"
    settings = load(Settings, read_env_file(example))
    create(settings)
    text = example.read_text()
    missing = [
        name.upper() for name in Settings.model_fields if name.startswith("rfm2pi_") and f"{name.upper()}=" not in text
    ]
    assert missing == []
    uncommented = {
        name.strip("# ").split("=")[0]: name.split("=", 1)[1]
        for name in text.splitlines()
        if name.startswith("#RFM2PI_") and "=" in name
    }
    load(Settings, {"CONNECTOR_NAME": "radio", **uncommented})
