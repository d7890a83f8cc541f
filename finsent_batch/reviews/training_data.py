"""Answers of reviewers as folders of labelled data: what `review:` means where they are named."""

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl

from ..config import DEFAULT_STORE, PrepareConfig, StoreConfig
from ..errors import BadDataError, UsageError
from ..labelled.formats import SPLITS
from ..labelled.splits import prepare
from ..store.store import Store

PREFIX: Final = "review:"
_FOLDER: Final = "review"


@contextmanager
def data_folders(data: tuple[Path, ...]) -> Iterator[tuple[Path, ...]]:
    """Give the folders of `data`, one made of a store's reviews in the place of `review:STORE`.

    It is what `prepare` makes of them, without the headlines of the other folders.

    Raises:
        UsageError: more than one `review:`.
        BadDataError: too few answers to split.
        MissingInputError: there is no such store.
    """
    named = [folder for folder in data if str(folder).startswith(PREFIX)]
    if not named:
        yield data
        return
    if len(named) > 1:
        raise UsageError("--data review: stands for one store: name it once")
    store = Path(str(named[0]).removeprefix(PREFIX) or DEFAULT_STORE)
    others = [folder for folder in data if folder != named[0]]
    with tempfile.TemporaryDirectory(prefix="finsent-review-") as work:
        folder = Path(work) / _FOLDER
        answers = folder.with_suffix(".parquet")
        reviewed_labels(StoreConfig(path=store)).write_parquet(answers)
        files = (other / f"{split}.parquet" for other in others for split in SPLITS)
        exclude = tuple(file for file in files if file.exists())
        try:
            prepare(PrepareConfig(sources=(answers,), output=folder, exclude=exclude))
        except BadDataError as error:
            beside = ", without the headlines of the other --data" if others else ""
            raise BadDataError(f"the reviews in {store}{beside}: {error}") from None
        yield tuple(folder if other == named[0] else other for other in data)


def reviewed_labels(config: StoreConfig) -> pl.DataFrame:
    """Return what most reviewers say of each headline, where most do: `headline`, `label`."""
    with Store.open(config, read_only=True) as store:
        rows = store.query(
            """SELECT headline_key, reviewer, arg_max(headline, reviewed_at),
                arg_max(label, reviewed_at)
            FROM reviews GROUP BY headline_key, reviewer ORDER BY headline_key, reviewer"""
        )
    said: dict[str, Counter[str]] = {}
    for _, _, headline, label in rows:
        said.setdefault(headline, Counter())[label] += 1
    found = [
        (headline, label)
        for headline, labels in said.items()
        for label, votes in labels.most_common(1)
        if 2 * votes > labels.total()
    ]
    if not found:
        raise BadDataError(
            f"the store {config.path} has no reviews: make a file with finsent-batch review export"
        )
    return pl.DataFrame(found, schema=["headline", "label"], orient="row").cast(pl.String)
