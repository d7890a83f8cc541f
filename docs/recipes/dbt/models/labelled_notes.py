"""A desk's own notes, labelled by the model and the store of the nightly runs."""

import duckdb

import finsent_batch


def model(dbt, session):
    """Return the notes with labels: what the store has is looked up, the rest is scored once."""
    notes = dbt.ref("notes").to_arrow_table()
    store, named = dbt.config.get("store"), dbt.config.get("model")
    # A connection of our own: dbt's session is not one of DuckDB's, but wraps its cursor.
    with duckdb.connect() as own, finsent_batch.register(own, store=store, model=named):
        own.register("notes", notes)
        sql = "SELECT *, sentiment(note) AS sentiment, sentiment_score(note) AS score FROM notes"
        labelled = own.sql(sql).to_arrow_table()
    return labelled  # noqa: RET504 - dbt wants one return, at the end of the function
