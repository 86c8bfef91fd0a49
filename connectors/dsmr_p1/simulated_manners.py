"""How the simulated meters of each country speak. Data: telegrams with places for values, typed for this purpose."""

from __future__ import annotations

from dataclasses import dataclass

_NETHERLANDS_5 = """\
/WBT5SIMULATED-ESMR5

1-3:0.2.8(50)
0-0:1.0.0({clock})
0-0:96.1.1(5742543530303030303030303031)
1-0:1.8.1({import_1:010.3f}*kWh)
1-0:1.8.2({import_2:010.3f}*kWh)
1-0:2.8.1({export_1:010.3f}*kWh)
1-0:2.8.2({export_2:010.3f}*kWh)
0-0:96.14.0(000{tariff})
1-0:1.7.0({power_in:06.3f}*kW)
1-0:2.7.0({power_out:06.3f}*kW)
0-0:96.7.21(00004)
0-0:96.7.9(00002)
1-0:99.97.0(2)(0-0:96.7.19)(250612081532S)(0000000412*s)(240118230410W)(0000002735*s)
1-0:32.32.0(00001)
1-0:52.32.0(00000)
1-0:72.32.0(00002)
1-0:32.36.0(00000)
1-0:52.36.0(00000)
1-0:72.36.0(00000)
0-0:96.13.0()
1-0:32.7.0({voltage_1:05.1f}*V)
1-0:52.7.0({voltage_2:05.1f}*V)
1-0:72.7.0({voltage_3:05.1f}*V)
1-0:31.7.0({current:03.0f}*A)
1-0:51.7.0(000*A)
1-0:71.7.0(001*A)
1-0:21.7.0({power_in:06.3f}*kW)
1-0:41.7.0(00.000*kW)
1-0:61.7.0(00.000*kW)
1-0:22.7.0({power_out:06.3f}*kW)
1-0:42.7.0(00.000*kW)
1-0:62.7.0(00.000*kW)
0-1:24.1.0(003)
0-1:96.1.0(5742474153303030303030303031)
0-1:24.2.1({five_minutes})({gas_of_five_minutes:09.3f}*m3)
!"""

_NETHERLANDS_4 = """\
/WBT5SIMULATED-DSMR4

1-3:0.2.8(42)
0-0:1.0.0({clock})
0-0:96.1.1(5742543430303030303030303031)
1-0:1.8.1({import_1:010.3f}*kWh)
1-0:1.8.2({import_2:010.3f}*kWh)
1-0:2.8.1({export_1:010.3f}*kWh)
1-0:2.8.2({export_2:010.3f}*kWh)
0-0:96.14.0(000{tariff})
1-0:1.7.0({power_in:06.3f}*kW)
1-0:2.7.0({power_out:06.3f}*kW)
0-0:17.0.0(999.9*kW)
0-0:96.3.10(1)
0-0:96.7.21(00004)
0-0:96.7.9(00002)
1-0:99.97.0()
1-0:32.32.0(00000)
1-0:32.36.0(00000)
0-0:96.13.1()
0-0:96.13.0()
1-0:31.7.0({current:03.0f}*A)
1-0:21.7.0({power_in:06.3f}*kW)
1-0:22.7.0({power_out:06.3f}*kW)
0-1:24.1.0(003)
0-1:96.1.0(5742474153303030303030303031)
0-1:24.2.1({hour})({gas_of_hour:09.3f}*m3)
!"""

_NETHERLANDS_3 = """\
/WBT5SIMULATED-DSMR3

0-0:96.1.1(5742543330303030303030303031)
1-0:1.8.1({import_1:09.3f}*kWh)
1-0:1.8.2({import_2:09.3f}*kWh)
1-0:2.8.1({export_1:09.3f}*kWh)
1-0:2.8.2({export_2:09.3f}*kWh)
0-0:96.14.0(000{tariff})
1-0:1.7.0({power_in:07.2f}*kW)
1-0:2.7.0({power_out:07.2f}*kW)
0-0:17.0.0(0999.00*kW)
0-0:96.3.10(1)
0-0:96.13.1()
0-0:96.13.0()
0-1:24.1.0(3)
0-1:96.1.0(5742474153303030303030303031)
0-1:24.3.0({hour_without_flag})(00)(60)(1)(0-1:24.2.1)(m3)
({gas_of_hour:09.3f})
0-1:24.4.0(1)
!"""

_BELGIUM = """\
/WBT5\\SIMULATED_BE

0-0:96.1.4(50217)
0-0:96.1.1(5742424530303030303030303031)
0-0:1.0.0({clock})
1-0:1.8.1({import_1:010.3f}*kWh)
1-0:1.8.2({import_2:010.3f}*kWh)
1-0:2.8.1({export_1:010.3f}*kWh)
1-0:2.8.2({export_2:010.3f}*kWh)
1-0:1.4.0({power_in:06.3f}*kW)
1-0:1.6.0({peak_at})(03.217*kW)
0-0:98.1.0(2)(1-0:1.6.0)(1-0:1.6.0)({month})({peak_before})(04.127*kW)({month_before})({peak_before})(03.902*kW)
0-0:96.14.0(000{tariff})
1-0:1.7.0({power_in:06.3f}*kW)
1-0:2.7.0({power_out:06.3f}*kW)
1-0:32.7.0({voltage_1:05.1f}*V)
1-0:31.7.0({current:06.2f}*A)
0-0:96.3.10(1)
0-0:17.0.0(999.9*kW)
1-0:31.4.0(999*A)
0-0:96.13.0()
0-1:24.1.0(003)
0-1:96.1.1(5742474153303030303030303031)
0-1:24.4.0(1)
0-1:24.2.3({five_minutes_without_flag})({gas_of_five_minutes:09.3f}*m3)
0-2:24.1.0(007)
0-2:96.1.1(5742573030303030303030303031)
0-2:24.2.1({hour})({water_of_hour:09.3f}*m3)
!"""

_LUXEMBOURG = """\
/WBT5\\SIMULATED_LU

1-3:0.2.8(42)
0-0:1.0.0({clock})
0-0:42.0.0(5742544C553030303030303031)
1-0:1.8.0({import_all:010.3f}*kWh)
1-0:2.8.0({export_all:010.3f}*kWh)
1-0:3.8.0({reactive_in:010.3f}*kvarh)
1-0:4.8.0({reactive_out:010.3f}*kvarh)
1-0:1.7.0({power_in:06.3f}*kW)
1-0:2.7.0({power_out:06.3f}*kW)
1-0:3.7.0(00.000*kvar)
1-0:4.7.0(00.200*kvar)
0-0:17.0.0(027.6*kVA)
1-0:9.7.0({power_in:06.3f}*kVA)
1-0:10.7.0({power_out:06.3f}*kVA)
1-1:31.4.0(040*A)(-040*A)
0-0:96.3.10(1)
0-0:96.7.21(00003)
0-0:96.13.0()
0-0:96.13.2()
1-0:32.7.0({voltage_1:05.1f}*V)
1-0:31.7.0({current:03.0f}*A)
!"""

_SWEDEN = """\
/WBT5\\SIMULATED_SE

0-0:1.0.0({standard_clock})
1-0:1.8.0({import_all:012.3f}*kWh)
1-0:2.8.0({export_all:012.3f}*kWh)
1-0:3.8.0({reactive_in:012.3f}*kVArh)
1-0:4.8.0({reactive_out:012.3f}*kVArh)
1-0:1.7.0({power_in:08.3f}*kW)
1-0:2.7.0({power_out:08.3f}*kW)
1-0:3.7.0(0000.000*kVAr)
1-0:4.7.0(0000.069*kVAr)
1-0:21.7.0({power_in:08.3f}*kW)
1-0:22.7.0({power_out:08.3f}*kW)
1-0:23.7.0(0000.000*kVAr)
1-0:24.7.0(0000.016*kVAr)
1-0:32.7.0({voltage_1:05.1f}*V)
1-0:31.7.0({current:05.1f}*A)
!"""

_HUNGARY = """\
/WBT5SIMULATED-HU

0-0:1.0.0({clock})
0-0:42.0.0(57425448553030303030303031)
0-0:96.1.0(5742485530303030303030303031)
0-0:96.14.0(000{tariff})
0-0:96.3.10(1)
0-0:17.0.0(90.000*kW)
1-0:1.8.0({import_all:010.3f}*kWh)
1-0:1.8.1({import_1:010.3f}*kWh)
1-0:1.8.2({import_2:010.3f}*kWh)
1-0:2.8.0({export_all:010.3f}*kWh)
1-0:3.8.0({reactive_in:010.3f}*kvarh)
1-0:5.8.0({reactive_in:010.3f}*kvarh)
1-0:15.8.0({absolute:010.3f}*kWh)
1-0:32.7.0({voltage_1:05.1f}*V)
1-0:31.7.0({current:03.0f}*A)
1-0:13.7.0(0.991)
1-0:14.7.0(50.01*Hz)
1-0:1.7.0({power_in:06.3f}*kW)
1-0:2.7.0({power_out:06.3f}*kW)
1-0:8.7.0(00.120*kvar)
0-0:98.1.0({month})(000412.250*kWh)(000151.031*kWh)(000261.219*kWh)
0-0:96.13.0()
!"""

_AUSTRIA = """\
/WBT5\\SIMULATED_AT

1-3:0.2.8(50)
0-0:1.0.0({clock})
1-0:1.8.0({import_wh:09.0f}*Wh)
1-0:1.8.1({import_wh:09.0f}*Wh)
1-0:1.7.0({power_in_w:09.0f}*W)
1-0:2.8.0({export_wh:09.0f}*Wh)
1-0:2.7.0({power_out_w:09.0f}*W)
1-0:3.8.0(000000747*varh)
1-0:3.8.1(000000747*varh)
1-0:3.7.0(000000000*var)
1-0:4.8.0(003897726*varh)
1-0:4.7.0(000000166*var)
!"""

_EASYMETER = """\
/WBT5SIMULATED-D0 V1.00

1-0:0.0.0*255(1000000001)
1-0:1.8.0*255({import_all:016.7f}*kWh)
1-0:21.7.0*255({power_in_w:09.2f}*W)
1-0:1.7.0*255({power_in_w:09.2f}*W)
1-0:96.5.5*255(80)
0-0:96.1.255*255(1WBT1000000001)
!"""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a kind of meter speaks."""

    template: str
    every_s: float
    has_crc: bool = True
    encrypts: bool = False


MANNERS = {
    "netherlands 5": Manner(_NETHERLANDS_5, 1.0),
    "netherlands 4": Manner(_NETHERLANDS_4, 10.0),
    "netherlands 3": Manner(_NETHERLANDS_3, 10.0, has_crc=False),
    "belgium": Manner(_BELGIUM, 1.0),
    "luxembourg": Manner(_LUXEMBOURG, 10.0, encrypts=True),
    "sweden": Manner(_SWEDEN, 10.0),
    "hungary": Manner(_HUNGARY, 10.0),
    "austria": Manner(_AUSTRIA, 5.0, encrypts=True),
    "easymeter": Manner(_EASYMETER, 2.0, has_crc=False),
}
