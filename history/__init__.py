"""History: from the bus into the database, nothing lost, nothing twice."""
