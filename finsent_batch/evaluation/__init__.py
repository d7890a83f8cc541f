"""`evaluate`, `compare`, `models promote`."""
