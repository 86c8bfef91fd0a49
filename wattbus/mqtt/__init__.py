"""The broker: one client of it, the messages and topics on it, and a broker of our own for `wattbus up`."""
