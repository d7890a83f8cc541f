"""The models that a store knows, and which of them is the default."""

from dataclasses import dataclass, replace
from pathlib import Path

from ..config import DEFAULT_MODEL, EMBEDDED_MODELS, PROMOTED_MODEL, ModelConfig, StoreConfig
from ..errors import ConfigError, FinsentError, UsageError
from ..store.store import Store, utc_now
from .directory import open_configured, open_model
from .label_classes import OPTION, absent_labels
from .license import license_of
from .spec import ModelSpec, ResolvedModel
from .weight_files import FileHashes


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A model that was made the default, and with which arithmetic it passed."""

    model: str
    """An absolute path, a Hub id or `mini`."""
    model_fingerprint: str
    weights: str


def resolve_promoted_model(config: ModelConfig, store: Store | StoreConfig | None) -> ModelConfig:
    """Return the settings with `promoted` replaced by the model that it means now.

    `store` is an open one, or where one may be; `mini` is meant where there is none.

    Raises:
        ConfigError: the promoted model is no longer the one that passed.
        TryAgainError: a job is writing to the store.
    """
    if config.model != PROMOTED_MODEL:
        return config
    if isinstance(store, Store):
        return _promoted_in(store, config)
    if store is None or not store.path.expanduser().exists():
        return replace(config, model=DEFAULT_MODEL)
    try:
        opened = Store.open(store, read_only=True)
    except ConfigError:
        # An empty store has none; what else is wrong, whoever opens it for writing will say.
        return replace(config, model=DEFAULT_MODEL)
    with opened:
        return _promoted_in(opened, config)


def resolve_promoted_first(first: str, store: Store | StoreConfig | None) -> str:
    """Return the name of a cascade's first model, for `promoted` that of the model it means now.

    Raises:
        FinsentError: as `resolve_promoted_model`.
    """
    return resolve_promoted_model(ModelConfig(model=first), store).model


def _promoted_in(store: Store, config: ModelConfig) -> ModelConfig:
    found = current_promotion(store)
    if found is None:
        return replace(config, model=DEFAULT_MODEL)
    _check_unchanged(found, config, FileHashes(store.connection))
    return replace(config, model=found.model)


def current_promotion(store: Store) -> Promotion | None:
    """Return the last promotion that was not rolled back."""
    rows = store.query("""
        SELECT model, model_fingerprint, weights FROM promotions
        WHERE rolled_back_at IS NULL ORDER BY promoted_at DESC LIMIT 1""")
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


def open_first(config: ModelConfig, name: str) -> tuple[ModelConfig, ModelSpec]:
    """Find the model of a cascade that is asked before the one of `config`, on the same device.

    Raises:
        ConfigError: it cannot score the three sentiments.
        FinsentError: as `open_model`.
    """
    first = ModelConfig(model=name, device=config.device)
    try:
        return first, open_configured(first)
    except ConfigError as error:
        advice = ""
        if OPTION in str(error):
            advice = (
                f"; here {OPTION} is the other model's: write it into this one's directory with "
                f"'finsent-batch models describe {name} {OPTION} … --write'"
            )
        raise ConfigError(f"--first {error}{advice}") from None


def check_first(first: ResolvedModel, second: ResolvedModel) -> None:
    """Refuse a model that cannot be asked before another one.

    Raises:
        ConfigError: it is the same model, or the two do not choose from the same labels.
    """
    if first.fingerprint == second.fingerprint:
        raise ConfigError(
            f"--first {first.spec.name} is the model itself: name a larger --model or a smaller "
            "--first, or leave it out"
        )
    lacks, other = (absent_labels(model.spec.label_classes) for model in (first, second))
    if lacks != other:
        name, missing = (first, lacks) if lacks else (second, other)
        raise ConfigError(
            f"--first {first.spec.name} and {second.spec.name} have not the same labels: "
            f"{name.spec.name} has no output for {' and '.join(missing)}: name another --first, "
            "or leave it out"
        )


def list_models(config: StoreConfig) -> list[dict[str, object]]:
    """Return the embedded models and those of the store, one dict each."""
    rows: dict[str, dict[str, object]] = {}
    folders: dict[str, str] = {}
    for name in EMBEDDED_MODELS:
        model = open_model(name).resolve(ModelConfig(model=name), FileHashes())
        spec, mark = model.spec, model.fingerprint
        rows[mark] = _row(name, spec.family, spec.base_id, model.weights, mark, 0, None)
        folders[mark] = str(spec.folder)
    default = next(iter(rows))
    promoted = None
    if config.path.expanduser().exists():
        with Store.open(config, read_only=True) as store:
            promoted = current_promotion(store)
            for found in store.query("""
                SELECT model, family, base, weights, model_fingerprint, count(headline_key),
                    max(scored_at), path
                FROM models LEFT JOIN scores USING (model_fingerprint)
                GROUP BY ALL ORDER BY 7 DESC NULLS LAST"""):
                *values, folder = found
                rows[found[4]] = _row(*values)
                folders.setdefault(found[4], folder)
    if promoted is not None and promoted.model_fingerprint not in rows:
        p = promoted
        rows[p.model_fingerprint] = _row(
            p.model, None, None, p.weights, p.model_fingerprint, 0, None
        )
    for fingerprint, row in rows.items():
        is_default = fingerprint == (promoted.model_fingerprint if promoted else default)
        row["default"] = "yes" if is_default else None
        folder = folders.get(fingerprint)
        row["license"] = license_of(Path(folder)) if folder else None
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
        "last_scored": last,
    }


def roll_back(config: StoreConfig) -> tuple[Promotion, str]:
    """Withdraw the current promotion; return it and the model that is the default now.

    Raises:
        UsageError: nothing is promoted.
    """
    with Store.open(config) as store:
        found = current_promotion(store)
        if found is None:
            raise UsageError(f"nothing is promoted in {store.path}: the default is {DEFAULT_MODEL}")
        store.connection.execute(
            """UPDATE promotions SET rolled_back_at = $1
            WHERE promoted_at = (SELECT max(promoted_at) FROM promotions
                                 WHERE rolled_back_at IS NULL)""",
            [utc_now()],
        )
        before = current_promotion(store)
    return found, before.model if before else DEFAULT_MODEL


def near_tie(store: Store, fingerprint: str) -> float | None:
    """Return the margin below which a model's fast answers are not sure, if it was measured."""
    rows = store.query(
        """SELECT (details->>(weights || '_near_tie'))::DOUBLE FROM models
        WHERE model_fingerprint = ?""",
        [fingerprint],
    )
    return None if not rows or rows[0][0] is None else float(rows[0][0])


def keep_near_tie(store: Store, fingerprint: str, margin: float) -> None:
    """Keep that margin with the model's record: it is measured once."""
    store.connection.execute(
        """UPDATE models SET details = json_merge_patch(
            coalesce(details, '{}'), json_object(weights || '_near_tie', ?::DOUBLE)
        ) WHERE model_fingerprint = ?""",
        [round(margin, 4), fingerprint],
    )
