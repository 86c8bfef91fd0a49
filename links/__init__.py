"""Transports that several connectors share."""
