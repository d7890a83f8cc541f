"""Scores and books in DuckDB: schema, snapshot, publications, views, verify, compact, export."""
