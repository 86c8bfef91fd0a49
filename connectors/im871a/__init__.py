"""Wireless M-Bus through an IMST iM871A stick: telegrams of meters for electricity, heat, water and gas."""
