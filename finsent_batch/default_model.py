"""Which model a store takes when none is named."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import duckdb

from .config import DEFAULT_MODEL, PROMOTED_MODEL, ModelConfig, StoreConfig
from .errors import ConfigError, FinsentError
from .models.directory import open_configured
from .models.files import FileHashes
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A model that was made the default, and with which arithmetic it passed."""

    model: str
    """An absolute path, a Hub id or `mini`."""
    model_fingerprint: str
    weights: str


def settle_model(
    config: ModelConfig, store: StoreConfig | None, *, waiting: Callable[[], None] = lambda: None
) -> ModelConfig:
    """Return the settings with `promoted` replaced by the model that it means now.

    `waiting` is as in `Store.open`.

    Raises:
        ConfigError: the promoted model is no longer the one that passed.
        TryAgainError: a job is writing to the store.
    """
    if config.model != PROMOTED_MODEL:
        return config
    if store is None or not store.path.expanduser().exists():
        return replace(config, model=DEFAULT_MODEL)
    try:
        opened = Store.open(store, read_only=True, waiting=waiting)
    except ConfigError:
        # An empty store has none; what else is wrong, whoever opens it for writing will say.
        return replace(config, model=DEFAULT_MODEL)
    with opened:
        found = current_promotion(opened)
        if found is None:
            return replace(config, model=DEFAULT_MODEL)
        _check_unchanged(found, config, FileHashes(opened.connection))
    return replace(config, model=found.model)


def current_promotion(store: Store) -> Promotion | None:
    """Return the last promotion that was not rolled back."""
    try:
        rows = store.query("""
            SELECT model, model_fingerprint, weights FROM promotions
            WHERE rolled_back_at IS NULL ORDER BY promoted_at DESC LIMIT 1""")
    except duckdb.CatalogException:
        return None  # a store from before there were promotions, opened for reading
    if not rows:
        return None
    return Promotion(model=rows[0][0], model_fingerprint=rows[0][1], weights=rows[0][2])


def _check_unchanged(found: Promotion, config: ModelConfig, hashes: FileHashes) -> None:
    advice = "promote it again, or see finsent-batch models rollback"
    try:
        # `--weights` decides what a causal base without adapter is, and nothing else here.
        spec = open_configured(replace(config, model=found.model, weights=found.weights))
        fingerprint = spec.fingerprint(found.weights, hashes)
    except FinsentError as error:
        raise ConfigError(
            f"the promoted model {found.model} cannot be used ({error}): {advice}"
        ) from None
    if fingerprint != found.model_fingerprint:
        raise ConfigError(f"the promoted model {found.model} has changed since: {advice}")
