"""The page: what people see of their connectors and datapoints, and where they say what they want.

It runs in the API's process and event loop and reads the live model directly; what a browser is told is gathered and
sent once a second. Everything that a browser needs comes from this machine.
"""

from api.page.mounting import mount

__all__ = ["mount"]
