"""Which model was a store's default when, and on what grounds."""

import json

from ..config import StoreConfig
from ..store.store import Store


def promotion_history(config: StoreConfig) -> list[dict[str, object]]:
    """Return every promotion, the latest first, those that were rolled back too.

    Raises:
        MissingInputError: there is no store.
        TryAgainError: a job is writing to it.
    """
    with Store.open(config, read_only=True) as store:
        rows = store.query("""
            SELECT promoted_at, rolled_back_at, model, weights, model_fingerprint, data,
                array_to_string(gates, ', '), metrics
            FROM promotions ORDER BY promoted_at DESC""")
    return [_entry(*row) for row in rows]


def _entry(
    promoted_at: object,
    rolled_back_at: object,
    model: str,
    weights: str,
    fingerprint: str,
    data: str | None,
    gates: str | None,
    metrics: str | None,
) -> dict[str, object]:
    figures = json.loads(metrics or "{}")
    return {
        "promoted_at": promoted_at,
        "rolled_back_at": rolled_back_at,
        "model": model,
        "accuracy": figures.get("accuracy"),
        "macro_f1": figures.get("macro_f1"),
        "rows": figures.get("n"),
        "gates": gates,
        "data": data,
        "weights": weights,
        "fingerprint": fingerprint,
    }
