"""The unit and its install script: as far as they go without a machine whose service manager is systemd.

What is not run here: useradd on a real system, systemctl, modprobe, apt-get, and the unit under systemd itself.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from wattbus.cli import systemd, up
from wattbus.cli.suite import read_suite
from wattbus.testing.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "wattbus.service"
PASSWD = "root:x:0:0:root:/root:/bin/bash\n"
GROUP = "root:x:0:\ndialout:x:20:\n"


def install(*arguments: str | Path, code: int = 0) -> str:
    """Run the script; what it said."""
    done = subprocess.run(
        [ROOT / "systemd" / "install", *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done.stderr + done.stdout


@pytest.fixture
def other_root(tmp_path: Path) -> Path:
    """The root of another system, without users but root."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    for name, content in {"passwd": PASSWD, "group": GROUP, "shadow": "root:*:::::::\n", "gshadow": ""}.items():
        (root / "etc" / name).write_text(content)
    return root


def test_the_script_is_well_formed() -> None:
    script = ROOT / "systemd" / "install"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["/bin/bash", "-n", script], check=False).returncode == 0
    assert "--uninstall" in install("--help")
    assert "usage:" in install("--nonsense", code=2)


def test_what_it_puts_where(other_root: Path) -> None:
    install("--root", other_root, "--no-packages")
    settings = other_root / "etc" / "wattbus"
    assert {path.name for path in settings.glob("*.env")} == {"common.env", "history.env", "api.env"}
    assert (other_root / "etc/systemd/system/wattbus.service").read_text() == UNIT.read_text()
    assert "usbserial" in (other_root / "etc/modules-load.d/wattbus.conf").read_text()
    assert (other_root / "var/lib/wattbus").is_dir()
    assert stat.S_IMODE((settings / "common.env").stat().st_mode) == 0o640, "there will be passwords in it"
    assert stat.S_IMODE(settings.stat().st_mode) == 0o2750 == int(_unit()["Service"]["ConfigurationDirectoryMode"], 8)
    examples = {path.name for path in (settings / "examples").iterdir()}
    assert {"modbus_tcp.env.example", "history.env.example", "api.env.example"} <= examples
    assert "demo_device.env.example" not in examples


def test_the_first_settings_can_be_run_and_keep_everything_in_the_state_directory(other_root: Path) -> None:
    install("--root", other_root, "--no-packages")
    suite = read_suite(other_root / "etc" / "wattbus", lambda _: 1)
    assert [member.service.name for member in suite.members] == ["api", "history"]
    assert suite.common.data_directory == Path("/var/lib") / _unit()["Service"]["StateDirectory"]
    assert suite.broker_port == 1883
    assert suite.remarks == ()


def test_copied_examples_do_not_overrule_what_is_shared(other_root: Path) -> None:
    install("--root", other_root, "--no-packages")
    settings = other_root / "etc" / "wattbus"
    for example in ("raw_db", "history", "modbus_tcp"):
        shutil.copy(settings / "examples" / f"{example}.env.example", settings / f"{example}.env")
    suite = read_suite(settings, lambda _: 1)
    assert {str(member.settings.data_directory) for member in suite.members} == {"/var/lib/wattbus"}
    assert suite.broker_port == 1883


def test_again_it_leaves_settings_and_data_alone_and_renews_the_rest(other_root: Path) -> None:
    install("--root", other_root, "--no-packages")
    settings, unit = other_root / "etc/wattbus", other_root / "etc/systemd/system/wattbus.service"
    (settings / "common.env").write_text("LOGLEVEL=DEBUG\n")
    (settings / "api.env").unlink()
    (settings / "dsmr_p1.meter.env").write_text("DSMR_PORT=/dev/ttyUSB0\n")
    (other_root / "var/lib/wattbus/history.db").write_text("data")
    unit.write_text("old")
    users = (other_root / "etc" / "passwd").read_text()
    install("--root", other_root, "--no-packages")
    assert (settings / "common.env").read_text() == "LOGLEVEL=DEBUG\n"
    assert not (settings / "api.env").exists(), "somebody did not want it"
    assert (settings / "dsmr_p1.meter.env").exists()
    assert (other_root / "var/lib/wattbus/history.db").read_text() == "data"
    assert unit.read_text() == UNIT.read_text()
    assert (other_root / "etc" / "passwd").read_text() == users


def test_uninstalling_leaves_settings_and_data_unless_they_shall_go_too(other_root: Path) -> None:
    install("--root", other_root, "--no-packages")
    (other_root / "opt/wattbus/bin").mkdir(parents=True)
    (other_root / "opt/other").mkdir()
    assert "Settings stay in" in install("--root", other_root, "--uninstall")
    assert not (other_root / "etc/systemd/system/wattbus.service").exists()
    assert not (other_root / "etc/modules-load.d/wattbus.conf").exists()
    assert not (other_root / "opt/wattbus").exists()
    assert (other_root / "etc/wattbus/common.env").exists()
    install("--root", other_root, "--uninstall", "--purge")
    assert not (other_root / "etc/wattbus").exists()
    assert not (other_root / "var/lib/wattbus").exists()
    assert (other_root / "opt/other").exists()
    install("--root", other_root, "--uninstall", "--purge")  # nothing is left to be taken away


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("useradd"), reason="useradd --prefix needs root")
def test_the_user_is_made_without_a_way_to_sign_in_and_goes_with_a_purge(other_root: Path) -> None:
    install("--root", other_root, "--no-packages")
    [line] = [line for line in (other_root / "etc/passwd").read_text().splitlines() if line.startswith("wattbus:")]
    _, _, user, group, _, home, shell = line.split(":")
    assert (home, shell) == ("/var/lib/wattbus", "/usr/sbin/nologin")
    assert 0 < int(user) < 1000, "a system's user"
    data, settings = (other_root / "var/lib/wattbus").stat(), (other_root / "etc/wattbus/common.env").stat()
    assert (data.st_uid, data.st_gid) == (int(user), int(group))
    assert (settings.st_uid, settings.st_gid) == (0, int(group)), "read, not written, by the service"
    copied = other_root / "etc/wattbus/raw_db.env"
    shutil.copyfile(other_root / "etc/wattbus/examples/raw_db.env.example", copied)
    assert copied.stat().st_gid == int(group), "what somebody puts there later can be read, too"
    install("--root", other_root, "--uninstall", "--purge")
    assert "wattbus" not in (other_root / "etc/passwd").read_text()


def test_what_the_settings_need_is_found_in_their_names(other_root: Path) -> None:
    """The groups of packages: of --with, of the last time, and of the files that are there."""
    settings = other_root / "etc" / "wattbus"
    settings.mkdir()
    for name, content in {
        "modbus_tcp.heatpump.env": "SERVICE_X=knx\n",
        "cellar.env": "# which one\nservice='x'\nSERVICE='dsmr_p1'\n",
        "common.env": "",
        "grafana.env": "",  # nothing of ours
    }.items():
        (settings / name).write_text(content)
    (other_root / "opt/wattbus").mkdir(parents=True)
    (other_root / "opt/wattbus/groups").write_text("rfm2pi\n")
    script = (ROOT / "systemd" / "install").read_text().replace('$(readlink -f "$0")', f"{ROOT}/systemd/install")
    functions = script[: script.index("if [[ -n $uninstall ]]")]
    told = subprocess.run(
        ["/bin/bash", "-c", f"{functions}\nwanted_groups", "install", "--root", str(other_root), "--with", "socket"],
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {"api", "controller", "dsmr-p1", "history", "modbus-tcp", "raw-db", "rfm2pi", "socket"}
    assert set(told.stdout.split()) == wanted


# -- the unit ---------------------------------------------------------------------------------------------------------


def _unit() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(UNIT)
    return parsed


def test_the_unit_never_gives_up_and_waits_for_nothing_that_may_never_come() -> None:
    unit = _unit()
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert "Requires" not in unit["Unit"] and "BindsTo" not in unit["Unit"]
    assert "time-sync.target" not in unit["Unit"]["Wants"]


def test_the_times_of_the_unit_are_longer_than_ours() -> None:
    service = _unit()["Service"]
    assert int(service["TimeoutStopSec"]) > up.SERVICES_END_S + up.BROKER_ENDS_S
    assert int(service["TimeoutStartSec"]) > systemd.READY_WITHIN_S
    assert int(service["WatchdogSec"]) > 2 * systemd.TELL_EVERY_S


needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


@pytest.fixture
def checked_unit(tmp_path: Path) -> Path:
    """The unit with a program that is here, so that only the unit itself can be wrong."""
    copy = tmp_path / "wattbus.service"
    copy.write_text(
        re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", UNIT.read_text(), flags=re.MULTILINE)
    )
    return copy


@needs_systemd
def test_systemd_finds_no_fault_in_the_unit(checked_unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", checked_unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_systemd_would_find_a_fault(checked_unit: Path) -> None:
    checked_unit.write_text(checked_unit.read_text().replace("NoNewPrivileges", "NoNewPriviledges"))
    done = subprocess.run(["systemd-analyze", "verify", checked_unit], capture_output=True, text=True, check=False)
    assert "NoNewPriviledges" in done.stderr


@needs_systemd
def test_the_sandbox_is_tight(checked_unit: Path) -> None:
    """systemd-analyze's own measure, from 0 (nothing can be done) to 10; what it calls OK ends at 4."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=25", checked_unit],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is older than version 250")
    assert done.returncode == 0, done.stdout[-300:]
