"""Take reviewers' answers into the store: all of a file, or none of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from ..config import LabelledFormat
from ..errors import BadDataError, UsageError
from ..headlines import key_sql, normalize_sql
from ..labelled.label_map import label_indices
from ..labels import LABELS
from ..store.store import Store, utc_now
from .config import ReviewImportConfig
from .sheet import Line, read_sheet, spellings

_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What became of a file's rows."""

    new: int
    changed: int
    """Answers that take the place of the same reviewer's earlier ones."""
    known: int
    open: int
    """Rows without a label."""
    reviewers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Answer:
    line: int
    key: str
    headline: str
    label: str
    reviewer: str


def import_reviews(config: ReviewImportConfig) -> Imported:
    """Keep the answers of a file that the store lacks; a second import changes nothing.

    Raises:
        MissingInputError: there is no such file, or no store.
        BadDataError: unknown keys or labels, headlines that were changed, two answers of one
            reviewer; nothing was kept.
        UsageError: rows whose reviewer is named nowhere.
    """
    lines = read_sheet(config.input, config.encoding)
    filled = [line for line in lines if line.label]
    how = LabelledFormat(label_map=config.label_map)
    labels = label_indices([line.label for line in filled], config.input, how)
    with Store.open(config.store, create=False) as store:
        keys = _known_keys(store, filled)
        _refuse(
            config,
            [line for line in filled if _key(line.key) not in keys],
            lambda n: (
                f"ha{'s a key' if n == 1 else 've keys'} that this store gave to no review: "
                "give the --store that the file was exported from"
            ),
        )
        headlines = _headlines(store, filled)
        _refuse(
            config,
            [line for line in filled if line.number not in headlines],
            lambda n: (
                f"no longer ha{'s its' if n == 1 else 've their'} headline, perhaps changed "
                "by a spreadsheet: put it back, or empty the label"
            ),
        )
        answers = [
            _Answer(
                line=line.number,
                key=_key(line.key),
                headline=headlines[line.number],
                label=LABELS[label],
                reviewer=line.reviewer or config.reviewer or "",
            )
            for line, label in zip(filled, labels, strict=True)
        ]
        _check_reviewers(config, answers)
        new, changed = _keep(store, answers)
    return Imported(
        new=new,
        changed=changed,
        known=len({(a.key, a.reviewer) for a in answers}) - new - changed,
        open=len(lines) - len(filled),
        reviewers=tuple(sorted({answer.reviewer for answer in answers})),
    )


def _key(text: str) -> str:
    """Return a key as DuckDB writes it; empty where it is none."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""


def _known_keys(store: Store, lines: Sequence[Line]) -> set[str]:
    rows = store.query(
        """SELECT DISTINCT CAST(headline_key AS VARCHAR) FROM review_samples
        WHERE headline_key IN (SELECT CAST(unnest($1::VARCHAR[]) AS UUID))""",
        [[key for key in (_key(line.key) for line in lines) if key]],
    )
    return {key for (key,) in rows}


def _headlines(store: Store, lines: Sequence[Line]) -> dict[int, str]:
    """Return the normal form of each line's headline, if it is the one of its key."""
    spelled = [(line, text) for line in lines for text in spellings(line.headline)]
    rows = store.query(
        f"""SELECT headline, CAST({key_sql("headline")} AS VARCHAR) FROM (
            SELECT {normalize_sql("t")} AS headline, i FROM (
                SELECT unnest($1::VARCHAR[]) AS t, generate_subscripts($1::VARCHAR[], 1) AS i))
        ORDER BY i""",
        [[text for _, text in spelled]],
    )
    return {
        line.number: headline
        for (line, _), (headline, key) in zip(spelled, rows, strict=True)
        if key == _key(line.key)
    }


def _check_reviewers(config: ReviewImportConfig, answers: Sequence[_Answer]) -> None:
    unnamed = [answer.line for answer in answers if not answer.reviewer]
    if unnamed:
        raise UsageError(
            f"{config.input}: no reviewer is named in {_rows(unnamed)}: say who it was with "
            "--reviewer NAME, or fill the column reviewer"
        )
    seen: dict[tuple[str, str], _Answer] = {}
    for answer in answers:
        before = seen.setdefault((answer.key, answer.reviewer), answer)
        if before.label != answer.label:
            raise BadDataError(
                f"{config.input}: {answer.reviewer} says {before.label} in row {before.line} and "
                f"{answer.label} in row {answer.line} of the same headline: leave one"
            )


def _keep(store: Store, answers: Sequence[_Answer]) -> tuple[int, int]:
    """Insert what is new or said otherwise now; returns how many of each."""
    with store.transaction() as connection:
        latest = {
            (key, reviewer): label
            for key, reviewer, label in connection.execute(
                """SELECT CAST(headline_key AS VARCHAR), reviewer, arg_max(label, reviewed_at)
                FROM reviews GROUP BY headline_key, reviewer"""
            ).fetchall()
        }
        given = {(answer.key, answer.reviewer): answer for answer in answers}
        said = [a for pair, a in given.items() if latest.get(pair) != a.label]
        if said:
            names = ("key", "headline", "label", "reviewer")
            connection.execute(
                """INSERT INTO reviews (headline_key, headline, label, reviewer, reviewed_at)
                SELECT CAST(unnest($1::VARCHAR[]) AS UUID), unnest($2::VARCHAR[]),
                    unnest($3::VARCHAR[]), unnest($4::VARCHAR[]), $5""",
                [
                    *([getattr(answer, name) for answer in said] for name in names),
                    store.after("reviews", "reviewed_at", utc_now()),
                ],
            )
    changed = sum((a.key, a.reviewer) in latest for a in said)
    return len(said) - changed, changed


def _refuse(config: ReviewImportConfig, lines: Sequence[Line], what: Callable[[int], str]) -> None:
    if lines:
        told = f"{_rows([line.number for line in lines])} {what(len(lines))}"
        raise BadDataError(f"{config.input}: {told}; nothing was imported")


def _rows(numbers: Iterable[int]) -> str:
    """Return rows by their numbers, the first of many."""
    listed = list(numbers)
    named = ", ".join(map(str, listed[:_NAMED]))
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    return f"row{'s' if len(listed) > 1 else ''} {named}{more}"
