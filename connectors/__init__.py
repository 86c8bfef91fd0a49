"""One folder per protocol; nobody outside it knows the protocol."""
