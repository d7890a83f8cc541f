"""What a headline is: its normal form and its key.

There is one implementation, a pair of DuckDB expressions, so that planning ten
million rows and looking up a single headline cannot disagree. The Python
functions below run those same expressions.

Normal form: control characters and bidirectional controls removed, every run
of white space one space, ends trimmed, Unicode NFC. Key: the first 128 bits of
SHA-256 over the UTF-8 bytes of the normal form, as a DuckDB UUID.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

# White space as Unicode sees it (RE2's \s is ASCII only), the information
# separators included because Python's str.split treats them so.
_SPACE = r"[\t-\r\x1c-\x20\x{85}\pZ]+"
# C0 and C1 controls that are no white space, the byte-order mark, and the
# Bidi_Control characters: invisible, and able to reorder what a reader sees.
_CONTROL = (
    r"[\x00-\x08\x0e-\x1b\x7f-\x{84}\x{86}-\x{9f}"
    r"\x{61c}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}\x{feff}]"
)
# Most headlines are plain ASCII with single spaces: they pass unchanged and cheaply.
_NEEDS_WORK = r"[^\x20-\x7e]|  |^ | $"
# So do words of these characters with single spaces: letters and signs of the commonest alphabets,
# none of which is removed, is white space, or is changed by NFC whatever stands before it.
_LETTERS = (
    r"\x21-\x7e\x{a1}-\x{2ff}\x{388}-\x{482}\x{48a}-\x{52f}\x{5d0}-\x{5ea}\x{621}-\x{64a}"
    r"\x{2010}-\x{2027}\x{2030}-\x{205e}\x{20a0}-\x{20bf}\x{2122}\x{3001}-\x{3029}"
    r"\x{3041}-\x{3096}\x{30a1}-\x{30fe}\x{4e00}-\x{9fff}\x{ac00}-\x{d7a3}\x{ff01}-\x{ff60}"
)
_IS_NORMAL = f"[{_LETTERS}]+(?: [{_LETTERS}]+)*"


def normalize_sql(column: str, unusual: str | None = None) -> str:
    """Return the SQL expression of a VARCHAR expression's normal form (NULL stays NULL).

    `unusual` is a BOOLEAN expression of what the function of that name gives, where it was asked.

    Controls go first and NFC comes last: a control between a letter and its
    accent would otherwise leave text that a second pass changes again.
    """
    cleaned = f"regexp_replace({column}, '{_CONTROL}', '', 'g')"
    spaced = f"trim(regexp_replace({cleaned}, '{_SPACE}', ' ', 'g'))"
    if unusual:
        odd = f"{unusual} OR contains({column}, '  ')"
    else:
        odd = f"regexp_matches({column}, '{_NEEDS_WORK}')"
    # A CASE in the other, not an AND: DuckDB asks the inner one about those rows alone.
    return (
        f"CASE WHEN {odd} THEN CASE WHEN regexp_full_match({column}, '{_IS_NORMAL}') "
        f"THEN {column} ELSE nfc_normalize({spaced}) END ELSE {column} END"
    )


def unusual(text: pa.LargeStringArray) -> pa.BooleanArray:
    """Return which texts hold more than printable ASCII or have a space at an end, shape (n,).

    It costs a twentieth of a regular expression a row. Nulls stay null.
    """
    edges = pc.or_(pc.starts_with(text, " "), pc.ends_with(text, " "))
    return pc.or_(pc.invert(pc.ascii_is_printable(text)), edges)


def key_sql(normal_form: str) -> str:
    """Return the SQL expression of the 128-bit key of a normal form, type UUID."""
    # By way of 16 bytes: reading a UUID from digits takes longer than both steps.
    return f"CAST(unhex(left(sha256({normal_form}), 32)) AS UUID)"


def key_halves_sql(normal_form: str) -> tuple[str, str]:
    """Return the SQL expressions of the first and the last 64 bits of a key, type UBIGINT."""
    digits = f"sha256({normal_form})"
    return (
        f"CAST('0x' || left({digits}, 16) AS UBIGINT)",
        f"CAST('0x' || substr({digits}, 17, 16) AS UBIGINT)",
    )


KEY_MACROS: Final = {
    "finsent_normal_form(text)": normalize_sql("CAST(text AS VARCHAR)"),
    "finsent_key(text)": key_sql(f"nullif({normalize_sql('CAST(text AS VARCHAR)')}, '')"),
}
"""SQL macros of normal form and key, each without the other: a catalog may be attached anywhere."""


def normalize(texts: Sequence[str | None]) -> list[str]:
    """Return each text's normal form; None and blank text give an empty string."""
    if not texts:
        return []
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        rows = connection.execute(
            f"SELECT coalesce({normalize_sql('t')}, '') FROM "
            "(SELECT unnest($1::VARCHAR[]) AS t, generate_subscripts($1::VARCHAR[], 1) AS i) "
            "ORDER BY i",
            [list(texts)],
        ).fetchall()
    return [row[0] for row in rows]


def headline_key(text: str) -> UUID:
    """Return the key under which the store keeps the scores of `text`."""
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        row = connection.execute(
            f"SELECT {key_sql('n')} FROM (SELECT {normalize_sql('$1::VARCHAR')} AS n)", [text]
        ).fetchone()
    assert row is not None
    key: UUID = row[0]
    return key
