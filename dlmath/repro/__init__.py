"""Papers as data."""
