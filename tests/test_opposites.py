"""Headlines turned around for training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finsent_batch.opposites import opposite_headline


@pytest.mark.parametrize(
    ("headline", "opposite"),
    [
        ("Operating profit rose", "Operating profit fell"),
        ("Shares fell on weak outlook", "Shares rose on strong outlook"),
        ("Growth expected", "Decline expected"),
        (
            "Sales rose to EUR 13.1 mn from EUR 8.7 mn",
            "Sales fell to EUR 8.7 mn from EUR 13.1 mn",
        ),
        (
            "Net result was USD 4 million compared to USD 6 million",
            "Net result was USD 6 million compared to USD 4 million",
        ),
    ],
)
def test_direction_words_and_compared_figures_change_places(headline: str, opposite: str) -> None:
    assert opposite_headline(headline) == opposite


@pytest.mark.parametrize(
    "headline", ["The board met on Monday", "Upton Ltd appoints a chairman", "Sales 12 and 13", ""]
)
def test_a_headline_without_direction_has_no_opposite(headline: str) -> None:
    assert opposite_headline(headline) is None


@given(st.text())
def test_any_text_is_taken_and_never_given_back_unchanged(text: str) -> None:
    assert opposite_headline(text) != text
