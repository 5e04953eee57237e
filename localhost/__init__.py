"""A Functions host for machines without Core Tools: `python -m localhost`."""
