"""Rows in and out: files replaced whole, CSV, Parquet, DuckDB, object stores."""
