"""Modbus/TCP: registers and coils of any device that speaks Modbus over TCP, TLS, or RTU frames in TCP."""
