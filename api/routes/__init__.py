"""The paths of the REST API, one module per kind of thing. Thin: what they do is in the core."""
