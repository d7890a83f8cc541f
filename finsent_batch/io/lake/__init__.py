"""Lakehouse tables: folders of which only a log says which files count."""
