"""`bench/decode` runs, and finds numbers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from wattbus.testing.waiting import PATIENCE_S

PROJECT = Path(__file__).parents[3]


def bench_decode(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(PROJECT / "bench" / "decode"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def test_bench_decode_measures_decoder_and_connector() -> None:
    done = bench_decode("im871a", "--seconds", "0.01", "--meters", "1")
    assert done.returncode == 0, done.stderr
    title, *rows = done.stdout.splitlines()
    assert title == "== im871a"
    rates = [int(row.split()[-1].replace(",", "")) for row in rows if re.search(r"records +[0-9,]+$", row)]
    assert len(rates) == 8
    assert min(rates) > 0


def test_bench_decode_names_what_there_is() -> None:
    done = bench_decode("fax")
    assert done.returncode == 2
    assert "there is no fax" in done.stderr
    assert "im871a" in done.stderr
    assert "im871a" in bench_decode("--help").stdout
