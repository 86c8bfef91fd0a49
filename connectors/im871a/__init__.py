"""Wireless M-Bus through an IMST iM871A stick and other receivers: meters for electricity, heat, water and gas.

connector.py                       opens the line, sets the stick, keeps an eye on it
hci.py, management.py, stick.py    the stick's language: frames, its own settings, the dialogue
receivers/                         other receivers, and telegrams as lines of text
reception.py                       the way of a telegram, past
  duplicates.py, trust.py            repeaters; wrong keys, and other meters with the number of a meter of ours
  hearing.py, announcements.py       neighbours, quiet meters, learnt formats; what is new about datapoints
codec.py                           raw messages and what they say: pure
telegram/, meters/                 the telegram decoder, and data files about meters
registry.py, meters_config.py, meters_file.py    which meters there are, from settings, file and ReCalc
recalc.py, recalc_command.py, recalc_memory.py   the MQTT interface of the ancestor
simulator.py, simulated_stick.py, simulated_air.py
"""
