"""Lines of the password file, compared with mosquitto_passwd in both directions."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.passwords import fits, new_password, password_file, password_line
from tests.broker.installation import tool


def test_mosquitto_passwd_writes_what_we_read(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.touch()
    for user, password in {"heatpump": "one", "solar": "zwölf $:"}.items():
        assert tool("mosquitto_passwd", "-b", str(file), user, password).returncode == 0
        line = file.read_text().splitlines()[-1]
        assert fits(line, user, password), line
        assert not fits(line, user, password + "x")
        assert not fits(line, "other", password)
        salt = line.split("$")[3]
        ours = password_line(user, password, salt=base64.b64decode(salt))
        assert ours == line  # the same salt gives the same line


def test_mosquitto_passwd_takes_a_file_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_text(password_file({"a": "x", "b": "y"}, ""))
    assert tool("mosquitto_passwd", "-D", str(file), "a").returncode == 0
    assert [line.partition(":")[0] for line in file.read_text().splitlines()] == ["b"]


def test_lines_that_fit_stay_as_they_are() -> None:
    before = password_file({"a": "x", "b": "y"}, "")
    assert password_file({"b": "y", "a": "x"}, before) == before
    after = password_file({"a": "new", "b": "y"}, before).splitlines()
    assert after[1] == before.splitlines()[1]
    assert fits(after[0], "a", "new")
    assert password_file({"b": "y"}, before).splitlines() == before.splitlines()[1:]


@given(st.text(min_size=1, max_size=40))
def test_any_password_fits_its_own_line_alone(password: str) -> None:
    try:
        password.encode()
    except UnicodeEncodeError:
        return
    line = password_line("a", password)
    assert fits(line, "a", password)
    assert not fits(line, "a", password + "x")


@pytest.mark.parametrize(
    "line",
    ["", "a", "a:", "a:x", "a:$6$AAAA$AAAA", "a:$7$x$AAAA$AAAA", "a:$7$0$AAAA$AAAA", "a:$7$-1$AAAA$AAAA",
     "a:$7$101$???$AAAA", "a:$7$99999999999999999999$AAAA$AAAA", "a:$7$101$AAAA$AAAA$AAAA"],
)  # fmt: skip
def test_a_damaged_line_fits_nobody(line: str) -> None:
    assert not fits(line, "a", "x")
    assert fits(password_file({"a": "x"}, line).strip(), "a", "x")


def test_passwords_are_long_and_unlike() -> None:
    passwords = {new_password() for _ in range(500)}
    assert len(passwords) == 500
    assert all(len(password) == 43 and password[0].isalnum() for password in passwords)
    assert not set("".join(passwords)) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
