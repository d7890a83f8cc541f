"""A store filled by hand: one run, one model, rows of scores."""

from datetime import datetime

from finsent_batch.store.store import Store

NOON = datetime(2024, 6, 1, 12)


def score_row(number, **changes):
    """A row of `scores` that is as it should be, but for `changes`."""
    row = {
        "headline_key": f"{number:032x}",
        "model_fingerprint": "f",
        "headline": f"Headline {number}",
        "p_negative": 0.2,
        "p_neutral": 0.3,
        "p_positive": 0.5,
        "truncated": False,
        "run_id": "run",
        "scored_at": NOON,
    }
    return row | changes


def fill(config, *rows):
    """Make a store with a run, a model and the given scores."""
    with Store.open(config) as store:
        store.upsert("runs", {"run_id": "run", "status": "done", "started_at": NOON})
        store.upsert("models", {"model_fingerprint": "f"})
        for row in rows:
            store.insert("scores", row)
