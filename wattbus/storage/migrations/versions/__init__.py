"""One file per change, `vNNNN_what.py`."""
