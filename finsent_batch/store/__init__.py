"""The one DuckDB file: schema, connection, publications, views, verify, compact, export."""
