"""The data files: each proves what it says with telegrams."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from connectors.im871a.telegram import compact
from connectors.im871a.telegram.meters import FOLDER, Detection, Meter, MeterFile, Proof, all_meters, meter_for
from connectors.im871a.telegram.vif import UNIT_SUFFIX
from tests.connectors.im871a.telegram_data import decode_any

PROOFS = [(meter, proof) for meter in all_meters() for proof in meter.file.telegrams]


@pytest.mark.parametrize(("meter", "proof"), PROOFS, ids=[meter.name for meter, _ in PROOFS])
def test_a_telegram_gives_the_fields_that_its_data_file_promises(meter: Meter, proof: Proof) -> None:
    decoded = decode_any(proof.telegram, proof.key)
    assert decoded.meter == meter.name
    values = {name: decoded.fields[name].value for name in proof.fields}
    # Schneider's reals have more digits in the published decoding than 32 bits hold.
    assert values == pytest.approx(dict(proof.fields), rel=1e-7, abs=0) if _numbers(proof) else dict(proof.fields)
    texts = {name: value for name, value in proof.fields.items() if isinstance(value, str)}
    assert {name: values[name] for name in texts} == texts


def _numbers(proof: Proof) -> bool:
    return all(isinstance(value, int | float) for value in proof.fields.values())


def test_every_file_is_named_as_its_meter() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == [meter.name for meter in all_meters()]


def test_the_first_file_that_fits_is_taken_and_none_hides_another() -> None:
    for meter, proof in PROOFS:
        header = decode_any(proof.telegram, proof.key).header
        fitting = [
            other.name
            for other in all_meters()
            if any(one.fits(header.manufacturer, header.version, header.device_type) for one in other.file.detection)
        ]
        assert fitting == [meter.name]


def test_a_meter_without_data_file_is_decoded_by_the_standard_alone() -> None:
    assert meter_for("XYZ", 1, 2) is None


def test_detection_without_versions_takes_all_of_the_manufacturer() -> None:
    assert Detection(manufacturer="KAM", device_types=(2,)).fits("KAM", 99, 2)
    assert not Detection(manufacturer="KAM", versions=(1,)).fits("KAM", 99, 2)


def test_formats_have_the_published_signatures() -> None:
    """The signatures are those of wmbusmeters and of the OmniPower captures; a format that fits cannot be mistyped."""
    formats = {name: [compact.signature(one) for one in meter_file(name).formats] for name in FORMATS}
    assert formats == FORMATS


FORMATS = {
    "kamstrup_omnipower": [0x8C13],
    "kamstrup_heat": [0x1434, 0x52C2, 0x6DE2, 0x7869, 0x8400, 0xAE5A, 0xB34D, 0xE7A2, 0xF1E7],
    "kamstrup_water": [0xDD07, 0xA8ED, 0xC412, 0x61EB, 0xD2F7, 0xDD34, 0x7C0E, 0x36D4, 0xA9F3, 0x0905],
    "engelmann_faw": [0x052D],
}


def meter_file(name: str) -> MeterFile:
    return next(meter.file for meter in all_meters() if meter.name == name)


def test_units_in_data_files_have_a_suffix_for_the_key() -> None:
    for meter in all_meters():
        assert {one.unit for one in meter.file.records} | {one.unit for one in meter.file.tail} <= set(UNIT_SUFFIX)


def test_a_file_without_a_telegram_is_none() -> None:
    with pytest.raises(ValidationError):
        MeterFile(name="x", description="x", detection=(), telegrams=())


def test_flags_without_a_word_show_their_bit_and_silent_ones_do_not() -> None:
    meter = next(meter for meter in all_meters() if meter.name == "kamstrup_water")
    assert meter.flag_words("info_codes", 0x0071) == ("dry",)
    assert meter.flag_words("info_codes", 0x10004) == ("leak", "info_codes_bit_16")


def test_a_tail_that_is_too_short_gives_fewer_fields() -> None:
    meter = next(meter for meter in all_meters() if meter.name == "techem_mk_radio_3")
    assert dict(meter.tail_fields(bytes.fromhex("069f255900"))).keys() == {"volume_previous_period_m3"}
