"""OpenEnergyMonitor's radio boards on a serial line: RFM12Pi, RFM69Pi, RFM2Pi, and the radio of an emonPi."""
