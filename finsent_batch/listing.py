"""What models there are: the embedded one and those the store knows."""

from .config import DEFAULT_MODEL, StoreConfig
from .default_model import current_promotion
from .hardware import resolve_device
from .models.directory import open_model
from .models.files import FileHashes
from .store import Store


def known_models(config: StoreConfig) -> list[dict[str, object]]:
    """Return the embedded model and those of the store, one dict each."""
    spec = open_model(DEFAULT_MODEL)
    weights = spec.weights_for("auto", resolve_device("auto"))
    rows: dict[str, dict[str, object]] = {}
    default = spec.fingerprint(weights, FileHashes())
    rows[default] = _row(DEFAULT_MODEL, spec.family, spec.base_id, weights, default, 0, None)
    promoted = None
    if config.path.exists():
        with Store.open(config, read_only=True) as store:
            promoted = current_promotion(store)
            for found in store.query("""
                SELECT model, family, base, weights, model_fingerprint, count(headline_key),
                    max(scored_at)
                FROM models LEFT JOIN scores USING (model_fingerprint)
                GROUP BY ALL ORDER BY 7 DESC NULLS LAST"""):
                rows[found[4]] = _row(*found)
    if promoted is not None and promoted.model_fingerprint not in rows:
        p = promoted
        rows[p.model_fingerprint] = _row(
            p.model, None, None, p.weights, p.model_fingerprint, 0, None
        )
    for fingerprint, row in rows.items():
        is_default = fingerprint == (promoted.model_fingerprint if promoted else default)
        row["default"] = "yes" if is_default else None
    return list(rows.values())


def _row(
    model: str,
    family: str | None,
    base: str | None,
    weights: str,
    fingerprint: str,
    scores: int,
    last: object,
) -> dict[str, object]:
    return {
        "model": model,
        "family": family,
        "base": base,
        "weights": weights,
        "fingerprint": fingerprint,
        "scores": scores,
        "last scored": last,
    }
