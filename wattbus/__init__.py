"""The shared library: all that every service needs, nothing of any protocol."""

from importlib.metadata import version

__version__ = version("wattbus")
