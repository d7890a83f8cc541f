"""Traits of headlines that tell a night unlike any other: length, letters, language.

A headline counts as not English if it holds more of the commonest words of other European
languages than of English, or is mostly written in another alphabet: then its characters take half
again as many bytes as there are characters. The rule knows no names and no dictionary; what counts
is how its share moves.
"""

from typing import Final

_ENGLISH: Final = (
    "the of to in and for on at with as by from is are its it be after says new up over will that "
    "amid his has have this more than into first us not an"
)
# None of these is a common word of English headlines.
_OTHERS: Final = (
    "der das und für von den dem zum zur ist nicht ein eine einen auf bei nach vor über wird "
    "sich auch aus le les du dans pour sur aux une avec ce qui el del en por para una como "
    "della dei gli nel che da os dos uma het een van voor niet och att på av som är og til af "
    "det nie için yang untuk dengan di"
)
MEASURED: Final = 10_000
"""The first rows of an input whose traits are all measured; beyond, those of every 64th."""

COLUMNS: Final = "characters UINTEGER, letters UINTEGER, other_language BOOLEAN"
"""DuckDB columns of the traits; NULL where there is no headline, or it is not measured."""


def _pattern(text: str) -> str:
    return f"'(?:^|[^\\pL])({'|'.join(text.split())})\\b'"


def _words(text: str) -> str:
    return f"len(regexp_extract_all(lower(headline), {_pattern(text)}))"


def traits_sql() -> str:
    """Return the traits as SQL columns over `headline`, in normal form, and `row_number`."""
    measured = f"headline <> '' AND (row_number < {MEASURED} OR row_number % 64 = 0)"
    others, english = _words(_OTHERS), _words(_ENGLISH)
    # Few headlines have any of the others: a match costs a fraction of the list of all.
    language = (
        "CASE WHEN strlen(headline) >= 1.5 * length(headline) THEN true "
        f"WHEN regexp_matches(lower(headline), {_pattern(_OTHERS)}) THEN {others} > {english} "
        "ELSE false END"
    )
    letters = "length(regexp_replace(headline, '[^A-Za-z]+', '', 'g'))"
    return ", ".join(
        f"CASE WHEN {measured} THEN {trait} END"
        for trait in ("length(headline)", letters, language)
    )
