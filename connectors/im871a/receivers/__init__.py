"""Receivers other than the iM871A: each one small module with a pure codec, and a simulated one.

heard.py            what every receiver gives: a telegram without link CRCs, and how strong it was
questions.py        what a codec asks its receiver, and the dialogue over an open line
iu891a.py           IMST iU891A-XL, iU893A-XL: SLIP
amb8465.py          Amber/Würth AMB8465, Metis-II
cul.py              CUL, nanoCUL and others with culfw or a-culfw
text.py             telegrams as lines of text: rtl_wmbus, wmbusmeters, ESPHome, plain hexadecimal digits
line_sources.py     where lines come from: TCP, UDP, serial, standard input, MQTT
simulated.py        what they answer, for the simulator and for tests
"""
