"""Every standard-coded quantity of the published driver telegrams agrees with the independent decoding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.connectors.im871a.agreement import Reasons, Verdict, compare, verdicts
from tests.connectors.im871a.agreement_page import page
from tests.connectors.im871a.receiver_forms import FORMS, arrive, wireless
from tests.connectors.im871a.telegram_data import PROJECT, DriverTest, driver_tests


@pytest.fixture(scope="module")
def tests() -> list[DriverTest]:
    return driver_tests()[0]


class NoReasons(Reasons):
    """Nothing is explained away."""

    def find(self, driver: str, name: str, has: set[str]) -> None:
        return None


def test_nothing_is_unexplained_and_nothing_is_explained_in_vain(tests: list[DriverTest]) -> None:
    reasons = Reasons()
    found = verdicts(tests, reasons)
    assert [verdict for verdict in found if verdict.kind == "open"] == []
    assert [entry for n, entry in enumerate(reasons.entries) if n not in reasons.used] == []


def test_at_least_95_percent_of_the_standard_coded_quantities_agree(tests: list[DriverTest]) -> None:
    kinds = [verdict.kind for verdict in verdicts(tests)]
    assert kinds.count("agreed") > 1000
    assert kinds.count("agreed") / (kinds.count("agreed") + kinds.count("differs")) >= 0.95


@pytest.mark.parametrize("form", FORMS)
def test_every_telegram_arrives_in_every_receivers_form(form: str, tests: list[DriverTest]) -> None:
    frames = wireless(tests)
    assert len(frames) > 150
    assert arrive(FORMS[form], frames) == len(frames)


def test_the_page_in_the_documentation_is_true() -> None:
    tests, not_comparable = driver_tests()
    written = (PROJECT / "docs" / "wmbus-agreement.md").read_text(encoding="utf-8")
    assert written == page(tests, not_comparable), (
        "python -m tests.connectors.im871a.agreement_page > docs/wmbus-agreement.md"
    )


# The comparison itself must be able to fail.


def _one(tests: list[DriverTest], driver: str, **changed: Any) -> dict[str, Verdict]:
    """The verdicts on a driver's first telegram, some expected fields changed, nothing explained."""
    test = next(test for test in tests if test.driver == driver)
    altered = replace(test, expected={**test.expected, **changed})
    return {verdict.field: verdict for verdict in compare(altered, NoReasons())}


def test_a_wrong_scale_does_not_agree(tests: list[DriverTest]) -> None:
    assert _one(tests, "aerius")["total_m3"].kind == "agreed"
    assert _one(tests, "aerius", total_m3=684.2784)["total_m3"].kind == "open"
    assert _one(tests, "aerius", total_m3=6842.785)["total_m3"].kind == "open"


def test_a_wrong_unit_does_not_agree(tests: list[DriverTest]) -> None:
    assert _one(tests, "aerius", total_kwh=6842.784)["total_kwh"].kind == "open"


def test_flow_and_return_exchanged_do_not_agree(tests: list[DriverTest]) -> None:
    found = _one(tests, "sharky774", flow_temperature_c=49.1, return_temperature_c=61.2)
    assert (found["flow_temperature_c"].kind, found["return_temperature_c"].kind) == ("open", "open")


def test_consumption_and_production_exchanged_do_not_agree(tests: list[DriverTest]) -> None:
    found = _one(tests, "omnipower", total_energy_consumption_kwh=0, total_energy_production_kwh=7.94)
    assert found["total_energy_production_kwh"].kind == "open"


def test_one_record_cannot_serve_two_fields(tests: list[DriverTest]) -> None:
    found = _one(tests, "aerius", second_total_m3=6842.784)
    assert sorted([found["total_m3"].kind, found["second_total_m3"].kind]) == ["agreed", "open"]


def test_a_zero_needs_a_record_in_its_own_unit(tests: list[DriverTest]) -> None:
    assert _one(tests, "aerius", power_kw=0)["power_kw"].kind == "open"


def test_another_date_does_not_agree(tests: list[DriverTest]) -> None:
    assert _one(tests, "aerius", target_datetime="2022-12-31 23:58")["target_datetime"].kind == "open"


def test_another_text_or_status_does_not_agree(tests: list[DriverTest]) -> None:
    assert _one(tests, "ebzwmbe", customer="654320")["customer"].kind == "open"
    assert _one(tests, "sharky774", status="LEAK")["status"].kind == "open"


def test_a_decoder_that_reads_another_vif_is_noticed(tests: list[DriverTest]) -> None:
    """The same telegrams with 10 l in the place of 1 l."""
    with_volume = [test for test in tests if _has_litres(test)]
    assert len(with_volume) >= 3
    for test in with_volume:
        vif = test.frame.find(b"\x04\x13") + 1
        broken = replace(test, frame=test.frame[:vif] + b"\x14" + test.frame[vif + 1 :])
        kinds = {verdict.field: verdict.kind for verdict in compare(broken, NoReasons())}
        assert kinds["total_m3"] == "open", test.driver


def _has_litres(test: DriverTest) -> bool:
    """Whether it stands in plain, and has a volume in litres other than 0."""
    if test.driver not in ("hydrus", "aventieswm", "ultrimis", "evo868", "emerlin868", "iperl"):
        return False
    agreed = {verdict.field for verdict in compare(test, NoReasons()) if verdict.kind == "agreed"}
    return b"\x04\x13" in test.frame and "total_m3" in agreed and test.expected["total_m3"] != 0
