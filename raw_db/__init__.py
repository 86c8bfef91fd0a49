"""Raw messages: from the bus into the database, as they came, nothing lost, nothing twice."""
