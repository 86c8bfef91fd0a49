"""For authors of connectors and services: what their tests need, and the suite that every connector passes.

    link.py          the runtime's side of the contract, which decodes and remembers; enters `run()` once
    clock.py         a clock that moves only when a test says so, for what takes a `Clock`
    hurried.py       an event loop whose waits are short, for what waits by itself
    far_ends.py      addresses at which something is wrong: nobody, somebody who swallows, refuses, or talks nonsense
    relay.py         between a connector and its simulator: holds back, tears, is a serial port
    recorder.py      what a connector publishes on a real broker
    mqtt.py          a plain MQTT client, independent of ours
    waiting.py       waiting for what must come, with one bound for what never does
    under_test.py    what the suite has to know of a connector
    conformance.py   the suite (needs pytest)
    fixtures.py      a broker, and settings for it (needs pytest)

Only the last two import pytest: `pip install 'wattbus[testing]'`.
"""
