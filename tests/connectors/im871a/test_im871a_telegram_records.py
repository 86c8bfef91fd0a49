"""Records: quantities, units, data types, names. Examples of the standards, and of meters where these have none."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.im871a import telegram
from connectors.im871a.telegram import Damaged, Record, Telegram
from connectors.im871a.telegram.vif import EXTENSION_FB, EXTENSION_FD, PRIMARY, UNIT_SUFFIX
from wattbus.errors import DecodeError


def decode(records: str) -> Telegram:
    """A telegram of an unknown meter, without transport header, with these records."""
    content = bytes.fromhex(records)
    return telegram.decode(bytes([10 + len(content)]) + bytes.fromhex("44 5a24 78563412 01 02 78") + content)


def fields(records: str) -> dict[str, Any]:
    return {name: quantity.value for name, quantity in decode(records).fields.items()}


def record(records: str) -> Record:
    (only,) = decode(records).records
    return only


# -- Quantities and units ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "name", "value", "unit"),
    [
        ("04 03 d2040000", "energy_kwh", 1.234, "kW.h"),  # Wh
        ("04 06 d2040000", "energy_kwh", 1234, "kW.h"),
        ("04 0e d2040000", "energy_mj", 1234, "MJ"),
        ("04 0f d2040000", "energy_mj", 12340, "MJ"),
        ("04 fb00 d2040000", "energy_kwh", 123400, "kW.h"),  # 0.1 MWh
        ("04 fb08 d2040000", "energy_mj", 123400, "MJ"),  # 0.1 GJ
        ("04 fb0d d2040000", "energy_mcal", 1234, "Mcal"),
        ("04 13 d2040000", "volume_m3", 1.234, "m3"),
        ("04 1b d2040000", "mass_kg", 1234, "kg"),
        ("04 2b d2040000", "power_w", 1234, "W"),
        ("04 2e d2040000", "power_w", 1234000, "W"),
        ("04 36 d2040000", "power_mj_h", 1234, "MJ/h"),
        ("04 3b d2040000", "volume_flow_m3_h", 1.234, "m3/h"),
        ("02 44 0500", "volume_flow_m3_h", 0.3, "m3/h"),  # 5 l/min
        ("02 4c 0500", "volume_flow_m3_h", 0.18, "m3/h"),  # 0.05 l/s
        ("04 53 d2040000", "mass_flow_kg_h", 1234, "kg/h"),
        ("02 5a d204", "flow_temperature_c", 123.4, "Cel"),
        ("02 5d d204", "return_temperature_c", 12.34, "Cel"),
        ("02 61 d2ff", "temperature_difference_k", -0.46, "K"),
        ("02 65 dbf9", "external_temperature_c", -15.73, "Cel"),
        ("02 69 6600", "pressure_bar", 1.02, "bar"),
        ("02 6e 7f00", "heat_cost_allocation", 127, ""),
        ("04 20 d2040000", "on_time_s", 1234, "s"),
        ("04 26 d2040000", "operating_time_h", 1234, "h"),
        ("03 74 e60200", "actuality_duration_s", 742, "s"),
        ("02 fd48 eb00", "voltage_v", 23.5, "V"),
        ("02 fd59 2600", "current_a", 0.038, "A"),
        ("02 fd46 610e", "voltage_v", 3.681, "V"),
        ("02 fd74 e214", "remaining_battery_life_d", 5346, "d"),
        ("01 fdfd02 0c", "remaining_battery_life_months", 12, "mo"),
        ("01 fd71 a5", "rf_level_dbm", -91, "dB[mW]"),
        ("02 fb1a 9002", "relative_humidity_percent", 65.6, "%"),
        ("02 fb2e f401", "frequency_hz", 50, "Hz"),
        ("04 fb02 d2040000", "reactive_energy_kvarh", 1234, "kvar.h"),
        ("04 fb04 d2040000", "apparent_energy_kvah", 1234, "kV.A.h"),
        ("02 fb14 d204", "reactive_power_var", 1234, "var"),
        ("02 fb37 0c00", "apparent_power_va", 12000, "V.A"),
        ("02 fb68 0018", "rating_factor", 1.5, ""),  # 2^-12
        ("04 fd3a 47000000", "dimensionless", 71, ""),
        ("02 fd17 0811", "error_flags", 0x1108, ""),
        ("01 fd08 04", "message_number", 4, ""),
    ],
)
def test_quantity_and_unit(records: str, name: str, value: float, unit: str) -> None:
    decoded = decode(records)
    assert {key: quantity.value for key, quantity in decoded.fields.items() if key != "status"} == {name: value}
    assert decoded.fields[name].unit == unit


def test_scaling_is_exact() -> None:
    """206 × 0.01 is 2.06 and not 2.0600000000000001; all numbers of a 16-bit register, in thousandths."""
    for number in range(-32767, 32768, 7):
        raw = number.to_bytes(2, "little", signed=True).hex()
        assert repr(record(f"02 13 {raw}").value) == repr(float(f"{number}e-3"))


def test_every_unit_has_a_suffix_for_the_key() -> None:
    for table in (PRIMARY, EXTENSION_FB, EXTENSION_FD):
        assert {vif.unit for vif in table.values()} <= UNIT_SUFFIX.keys()


def test_all_codes_of_the_primary_table_are_there_but_the_reserved_one() -> None:
    """EN 13757-3:2018 table 10: 6F is reserved; 7B, 7C, 7D, 7F announce something else."""
    assert set(range(0x80)) - PRIMARY.keys() == {0x6F, 0x7B, 0x7C, 0x7D, 0x7F}


# -- Names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("0406", "energy_kwh"),
        ("04863c", "energy_backward_kwh"),
        ("04863b", "energy_forward_kwh"),
        ("4406", "energy_storage_1_kwh"),
        ("840106", "energy_storage_2_kwh"),
        ("c48f0106", "energy_storage_63_kwh"),
        ("841006", "energy_tariff_1_kwh"),
        ("84a01006", "energy_tariff_6_kwh"),
        ("844006", "energy_unit_1_kwh"),
        ("84804006", "energy_unit_2_kwh"),
        ("142b", "power_max_w"),
        ("242b", "power_min_w"),
        ("342b", "power_error_w"),
        ("d4d001ab3c", "power_backward_max_tariff_1_unit_1_storage_33_w"),
        ("04fdc9fc02", "voltage_l2_v"),
        ("04fdc8fc05", "voltage_l1_l2_v"),
        ("04d900", "flow_temperature_c"),
        ("04d912", "flow_temperature_average_c"),
        ("04bb56", "volume_flow_lower_limit_exceed_last_duration_h"),
        ("04ab48", "power_upper_limit_w"),
        ("02ab49", "power_upper_limit_exceeds"),
        ("04ab6e", "power_last_begin"),
        ("0486fe00", "energy_future_kwh"),
        ("04862d", "energy_per_m3_kwh"),
        ("04933e", "volume_base_m3"),
    ],
)
def test_name(header: str, name: str) -> None:
    length = 2 if header.startswith("02") else 4
    assert record(header + "01" * length).name == name


def test_the_parts_of_a_record() -> None:
    only = record("d4 50 06 d2040000")
    assert (only.quantity, only.unit, only.value, only.function) == ("energy", "kW.h", 1234, "maximum")
    assert (only.storage, only.tariff, only.subunit, only.qualifiers) == (1, 1, 1, ())
    assert (only.standard, only.raw) == (True, "d45006d2040000")
    assert only.description == "energy, max, tariff 1, unit 1, storage 1"


def test_the_same_record_twice_gets_a_number() -> None:
    assert fields("02 fd3a c800 02 fd3a 0a00 02 fd3a 0b00") == {
        "dimensionless": 200,
        "dimensionless_2": 10,
        "dimensionless_3": 11,
    }


# -- Extensions that change the value ----------------------------------------------------------------------------------


def test_multiplied_and_shifted() -> None:
    assert record("04 fb8275 01000000").value == 0.1  # × 10^-1, as Carlo Gavazzi's EM24 sends it
    assert record("04 867d 02000000").value == 2000  # × 1000
    assert record("04 937b 05000000").value == 0.006  # + 1 litre


def test_flow_multiplied_by_temperature_has_no_plain_unit() -> None:
    only = record("04 9344 64000000")
    assert (only.name, only.unit, only.value) == ("volume_times_flow_temperature_m3", "m3.Cel", 0.001)


def test_a_record_with_an_error_has_a_name_of_its_own() -> None:
    assert fields("0a a618 0000") == {"operating_time_data_error_h": 0}
    assert fields("04 9315 00000000") == {"volume_no_data_m3": 0.0}


def test_unknown_and_manufacturers_codes_stay_hexadecimal() -> None:
    for records, name, value in (
        ("04 ff07 2b010000", "manufacturer_ff07", "2b010000"),
        ("04 a9ff01 ff240000", "power_manufacturer_01", "ff240000"),
        ("84 90 10 ff80843b 362a0c00", "manufacturer_ff80843b_tariff_5", "362a0c00"),
        ("02 6f 0100", "reserved_6f", "0100"),
        ("02 fd77 0100", "reserved_fd77", "0100"),
        ("02 8610 0100", "energy_extension_10", "0100"),
        ("02 86fc1e 0100", "energy_extension_fc_1e", "0100"),
        ("0d ff5f 03 010203", "manufacturer_ff5f", "010203"),
    ):
        only = record(records)
        assert (only.name, only.value, only.unit, only.standard) == (name, value, "", False)


def test_the_manufacturers_tail_is_kept() -> None:
    decoded = decode("0406d2040000 2f2f 0f 60011907")
    assert decoded.manufacturer_data == "60011907"
    assert decoded.fields["manufacturer_data"].value == "60011907"
    assert decode("0406d2040000 1f 0102").manufacturer_data == "0102"


def test_fillers_and_padding_are_skipped() -> None:
    assert fields("2f2f 0406d2040000 2f 0413d2040000 2f2f2f") == {"energy_kwh": 1234, "volume_m3": 1.234}
    assert fields("0406d2040000 ffff") == {"energy_kwh": 1234}  # Maddalena EVO 868


# -- Data types --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "value"),
    [
        ("01 06 7f", 127),
        ("01 06 81", -127),
        ("01 06 80", None),
        ("02 06 0080", None),
        ("03 06 ffff7f", 2**23 - 1),
        ("03 06 000080", None),
        ("04 06 00000080", None),
        ("06 06 ffffffffff7f", 2**47 - 1),
        ("07 06 ffffffffffffff7f", 2**63 - 1),
        ("07 06 0000000000000080", None),
        ("09 06 42", 42),
        ("0a 06 3412", 1234),
        ("0b 06 563412", 123456),
        ("0c 06 78563412", 12345678),
        ("0e 06 129078563412", 123456789012),
        ("0b 06 2202f0", -222),  # Diehl SHARKY 774: F in front is a minus
        ("0a 06 a512", None),
        ("0a 06 ffff", None),
        ("05 06 0000803f", 1.0),
        ("05 06 cdcccc3d", 0.1),
        ("05 06 0000c07f", None),  # not a number
        ("05 06 0000807f", None),  # infinity
        ("0d 06 c2 3412", 1234),
        ("0d 06 d2 3412", -1234),
        ("0d 06 e3 010000", 1),
        ("0d 06 e0", None),
        ("0d 06 f0 000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f"),
    ],
)
def test_numbers(records: str, value: Any) -> None:
    assert record(records).value == value


@pytest.mark.parametrize(
    ("records", "value"),
    [
        ("02 6c a121", "2021-01-01"),
        ("02 6c ff2c", "2023-12-31"),
        ("02 6c e1f7", "--07-01"),  # year 127: every year
        ("02 6c ffff", None),
        ("02 6c 0000", None),
        ("02 6c 5e22", None),  # 30 February
        ("04 6d 32371f15", "2008-05-31T23:50"),  # EN 13757-3, OMS annex N
        ("04 6d b2371f15", None),  # marked as invalid
        ("04 6d 3f371f15", None),  # every minute
        ("04 6d 22484136", "2026-06-01T08:34"),  # Zenner UIWS: century 2
        ("06 6d 2b0ed7ee2a00", "2023-10-14T23:14:43"),  # Itron heat meter
        ("06 6d 2b8ed7ee2a00", None),
        ("03 6d 3b1e17", "23:30:59"),
        ("03 6d 3c1e17", None),
        ("04 fd70 32371f15", "2008-05-31T23:50"),
    ],
)
def test_dates_and_times(records: str, value: Any) -> None:
    assert record(records).value == value


def test_texts_are_sent_backwards() -> None:
    assert fields("0d fd11 06 313233343536") == {"customer": "654321"}
    assert fields("0d fd0c 08 20353331334d4569") == {"model_version": "iEM3135"}
    assert fields("0d fd10 04 fc6e6961") == {"location": "ainü"}


def test_identifications_keep_their_zeros_and_letters() -> None:
    assert record("0c 78 57513400").value == "00345157"
    assert record("0e 78 798998601240").value == "401260988979"
    assert record("0c 78 4012ff0a").value == "0AFF1240"


def test_a_unit_in_plain_text() -> None:
    """libmbus's example of relative humidity: the text stands between VIF and extension. elvsense: carbon dioxide."""
    only = record("02 fc 03 48 52 25 74 44 0d")
    assert (only.quantity, only.unit, only.value) == ("rh", "%RH", 33.96)
    only = record("02 7c 03 32 4f 43 00 01")
    assert (only.name, only.unit, only.value) == ("co2_co2", "CO2", 256)


def test_records_without_data_have_no_field() -> None:
    decoded = decode("00 06 08 13 04 06 01000000")
    assert [one.has_value for one in decoded.records] == [False, False, True]
    assert list(decoded.fields) == ["energy_kwh"]


# -- Compact profiles, EN 13757-3:2018 annex F -------------------------------------------------------------------------


def test_compact_profile_with_register_numbers_f_2_6() -> None:
    assert fields(
        "868081006d 0000a0411135  8490810003 f0490200  8d908100831e 0a34fe a0860100 d0fb0100"
        "c68181006d 0b0c8d59130c  c491810003 905f0100"
        "868281006d 00008041140d  8492810003 50c30000  8d928100831e 0634fe 00710200"
    ) == {
        "datetime_storage_32": "2010-01-01T00:00:00",
        "energy_tariff_1_storage_32_kwh": 150,
        "energy_tariff_1_storage_33_kwh": 100,
        "datetime_storage_33": "2010-02-01T00:00:00",
        "energy_tariff_1_storage_34_kwh": 130,
        "datetime_storage_34": "2010-03-01T00:00:00",
        "datetime_storage_35": "2010-03-25T13:12:11",
        "energy_tariff_1_storage_35_kwh": 90,
        "datetime_storage_36": "2010-04-01T00:00:00",
        "energy_tariff_1_storage_36_kwh": 50,
        "energy_tariff_1_storage_37_kwh": 160,
        "datetime_storage_37": "2010-05-01T00:00:00",
    }


def test_compact_profile_f_2_7() -> None:
    assert fields("84046d 00204111  8b0415 003012  8d04951f 05 69 01 03 02 11") == {
        "datetime_storage_8": "2010-01-01T00:00",
        "volume_storage_8_m3": 12300.0,
        "volume_storage_9_m3": 12300.3,
        "datetime_storage_9": "2010-01-01T01:00",
        "volume_storage_10_m3": 12300.5,
        "datetime_storage_10": "2010-01-01T02:00",
        "volume_storage_11_m3": 12301.6,
        "datetime_storage_11": "2010-01-01T03:00",
    }


def test_inverse_compact_profile_f_2_8() -> None:
    assert fields("84046d 00234111  8b0415 163012  8d049513 05 69 01 11 02 03") == {
        "datetime_storage_8": "2010-01-01T03:00",
        "volume_storage_8_m3": 12301.6,
        "volume_storage_9_m3": 12300.5,
        "datetime_storage_9": "2010-01-01T02:00",
        "volume_storage_10_m3": 12300.3,
        "datetime_storage_10": "2010-01-01T01:00",
        "volume_storage_11_m3": 12300.0,
        "datetime_storage_11": "2010-01-01T00:00",
    }


def test_a_profile_of_month_ends_stays_at_month_ends() -> None:
    """31 December, monthly, backwards."""
    values = fields("82046c ff2c  840413 10000000  8d049313 0a 34fe 0f000000 0e000000")
    assert (values["date_storage_9"], values["date_storage_10"]) == ("2023-11-30", "2023-10-31")


def test_a_profile_without_base_gives_absolute_values_and_no_differences() -> None:
    assert fields("8d04931f 06 34fe 0f000000") == {"volume_storage_9_m3": 0.015}
    assert fields("8d04931f 04 7201 0f00") == {"volume_storage_9_m3": None}


@pytest.mark.parametrize(
    "records", ["8d04931f 01 34", "8d04931f 05 34fe 0f0000", "8d04931f 03 3dfe 0f", "8d04931f 03 30fe 0f"]
)
def test_a_profile_that_does_not_hold_its_elements_is_kept_unread(records: str) -> None:
    assert fields(records) == {"unreadable": records.replace(" ", "")}


# -- What makes no sense -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "records",
    [
        "04", "04 06", "04 06 010203", "84", "8480", "04 86", "0d 06", "0d 06 05 01", "02 7c", "02 7c 05 4142",
    ],
)  # fmt: skip
def test_an_end_within_a_record_is_damage(records: str) -> None:
    with pytest.raises(Damaged, match=r"end (within|before)"):
        decode(records)


@pytest.mark.parametrize(
    "records", ["3f", "4f 00", "ff 00", "0d 06 ca", "0d 06 f7", "84" + 11 * "80" + "06" + 8 * "00"]
)
def test_reserved_codes_are_refused(records: str) -> None:
    with pytest.raises(DecodeError):
        decode(records)
