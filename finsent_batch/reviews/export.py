"""Draw a sample for review, keep it in the store and write the file that people fill."""

from dataclasses import dataclass

from ..errors import CannotCreateError, UsageError
from ..io.paths import suffix_of
from ..queries.run import check_query_output
from ..store.store import Store, utc_now
from .config import ReviewExportConfig
from .sample import Sample, draw_sample
from .sheet import write_sheet


@dataclass(frozen=True, kw_only=True)
class Exported:
    """How many headlines were drawn, and from how many."""

    rows: int
    population: int


def export_reviews(config: ReviewExportConfig) -> Exported:
    """Write headlines to be labelled to `config.output`.

    Raises:
        UsageError: the output is no CSV file; an unknown run, model or day.
        CannotCreateError: the output exists, and with it perhaps answers.
        MissingInputError: there is nothing to draw from.
    """
    if suffix_of(config.output) != ".csv":
        raise UsageError(f"-o {config.output}: people fill a CSV file, name one with .csv")
    check_query_output(config.output, config.store, None)
    if config.output.exists() and not config.overwrite:
        raise CannotCreateError(
            f"{config.output} exists and may hold answers: name another -o, or use --overwrite"
        )
    with Store.open(config.store, read_only=True) as store:
        sample = draw_sample(store, config)
    with Store.open(config.store, create=False) as store:
        _keep(store, sample)
    write_sheet(config.output, sample.rows, show_labels=config.show_labels)
    return Exported(rows=len(sample.rows), population=sample.population)


def _keep(store: Store, sample: Sample) -> None:
    """Record what was drawn, without which answers could not be weighted."""
    if store.query("SELECT 1 FROM review_samples WHERE sample_id = ? LIMIT 1", [sample.id]):
        return
    names = (
        "headline_key", "model_fingerprint", "sentiment", "confidence", "source", "month", "weight",
    )  # fmt: skip
    columns = [[row[name] for row in sample.rows] for name in names]
    unnested = ", ".join(f"unnest(${i})" for i in range(3, 3 + len(names)))
    with store.transaction() as connection:
        connection.execute(
            f"INSERT INTO review_samples (sample_id, sampled_at, {', '.join(names)}) "
            f"SELECT $1, $2, {unnested}",
            [sample.id, store.after("review_samples", "sampled_at", utc_now()), *columns],
        )
