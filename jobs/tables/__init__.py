"""Rows as people read them on a terminal, and as programs read them; the help of queries."""
