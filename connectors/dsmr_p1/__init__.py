"""Smart meters with a P1 port: DSMR and its Belgian, Luxembourg, Swedish, Hungarian and Austrian cousins."""
