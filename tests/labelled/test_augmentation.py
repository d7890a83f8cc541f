"""Headlines turned around for training."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finsent_batch.labelled.augmentation import opposite_headline


@pytest.mark.parametrize(
    ("headline", "opposite"),
    [
        ("Operating profit rose", "Operating profit fell"),
        ("Shares fell on weak outlook", "Shares rose on strong outlook"),
        ("Growth expected", "Decline expected"),
        ("It raised its sales growth estimate", "It cut its sales growth estimate"),
        ("Its target was cut to 5 eur", "Its target was raised to 5 eur"),
        ("Profit down to EUR 1 mn from EUR 2 mn", "Profit up to EUR 2 mn from EUR 1 mn"),
        ("Sales went up, jobs set up", "Sales went down, jobs set up"),
        (
            "Profit fell from EUR 7.9 mn in the second quarter of 2005 to EUR 5.1 mn in 2006 .",
            "Profit rose from EUR 5.1 mn in the second quarter of 2005 to EUR 7.9 mn in 2006 .",
        ),
        (
            "Its target was cut to EUR 4 from EUR 5 and Holmen 's -- to SEK 135 from SEK 150",
            "Its target was raised to EUR 5 from EUR 4 and Holmen 's -- to SEK 150 from SEK 135",
        ),
        (
            "Sales rose to EUR 13.1 mn from EUR 8.7 mn",
            "Sales fell to EUR 8.7 mn from EUR 13.1 mn",
        ),
        (
            "Net result was USD 4 million compared to USD 6 million",
            "Net result was USD 6 million compared to USD 4 million",
        ),
        ("EBIT margin was up from 1.4 % to 5.1 % .", "EBIT margin was down from 5.1 % to 1.4 % ."),
        (
            "Net loss narrowed to EUR0 .1 m from EUR0 .4 m",
            "Net loss widened to EUR0 .4 m from EUR0 .1 m",
        ),
        (
            "profit fell to 884,000 euro ( $ 1.2 mln ) for the first quarter of 2007 from 2.0 mln "
            "euro ( $ 2.7 mln ) a year earlier .",
            "profit rose to 2.0 mln euro ( $ 2.7 mln ) for the first quarter of 2007 from 884,000 "
            "euro ( $ 1.2 mln ) a year earlier .",
        ),
        (
            "Sales of EURO 128.7 million , a 3.3-percent increase compared with EURO 124.6 million",
            "Sales of EURO 124.6 million , a 3.3-percent decrease compared with EURO 128.7 million",
        ),
        (
            "Income from life insurance doubled to EUR 6.8 mn from EUR 3.2 mn , and income from "
            "the rest rose to EUR 5.2 mn from EUR 1.5 mn",
            "Income from life insurance halved to EUR 3.2 mn from EUR 6.8 mn , and income from "
            "the rest fell to EUR 1.5 mn from EUR 5.2 mn",
        ),
    ],
)
def test_direction_words_and_compared_figures_change_places(headline: str, opposite: str) -> None:
    assert opposite_headline(headline) == opposite


@pytest.mark.parametrize(
    ("headline", "opposite"),
    [
        (
            "Operating profit was EUR 9.8 mn , compared to a loss of EUR 12.7 mn in 2009 .",
            "Operating loss was EUR 9.8 mn , compared to a profit of EUR 12.7 mn in 2009 .",
        ),
        (
            "It slipped to a net loss of EUR 6.7 million from a pretax profit of EUR 58.9 million",
            "It climbed to a net profit of EUR 6.7 million from a pretax loss of EUR 58.9 million",
        ),
        (
            "swung to a 1.1 mln euro $ 1.4 mln net profit , from a 249,000 euro $ 319,000 net loss",
            "swung to a 1.1 mln euro $ 1.4 mln net loss , from a 249,000 euro $ 319,000 net profit",
        ),
        (
            "EPS of EUR0 .08 versus loss per share of EUR0 .04",
            "loss per share of EUR0 .08 versus earnings per share of EUR0 .04",
        ),
        (
            "Loss of EUR 4 mn compared to a loss of EUR 2 mn",
            "Loss of EUR 2 mn compared to a loss of EUR 4 mn",
        ),
        (
            "Profit fell to EUR 3 mn from EUR 5 mn due to losses",
            "Profit rose to EUR 5 mn from EUR 3 mn due to losses",
        ),
    ],
)
def test_a_profit_after_a_loss_becomes_a_loss_after_a_profit(headline: str, opposite: str) -> None:
    """Exchanged figures would leave it as good as it was."""
    assert opposite_headline(headline) == opposite


@pytest.mark.parametrize(
    ("headline", "opposite"),
    [
        ("Sales rose in 2010 from 2009", "Sales fell in 2010 from 2009"),
        (
            "Sales from July to September grew 21 % to EUR 2 bn",
            "Sales from July to September shrank 21 % to EUR 2 bn",
        ),
        (
            "Sales rose to EUR 8 mn as of October 31 , up 4 % from EUR 7 mn",
            "Sales fell to EUR 7 mn as of October 31 , down 4 % from EUR 8 mn",
        ),
        (
            "Profit for the 12-month period increased from EUR17 .9 m",
            "Profit for the 12-month period decreased from EUR17 .9 m",
        ),
    ],
)
def test_years_days_and_shares_do_not_change_places_with_money(
    headline: str, opposite: str
) -> None:
    assert opposite_headline(headline) == opposite


@pytest.mark.parametrize(
    "headline",
    [
        "The board met on Monday", "Upton Ltd appoints a chairman", "Sales 12 and 13", "",
        "Cash flow was EUR 2.7 mn compared to a negative EUR 0.8 mn",
        "Profit after taxes was EUR 0.1 mn , compared to EUR -0.4 mn",
        "EBIT totalled EUR 14.4 mn , compared to a loss of EUR 0.3 mn",
        "Rising costs have forced Huhtamaki to axe 90 jobs",
        "The firm will lay off 700 workers because of falling orders",
        "The firms teamed up to set up a shop", "It will cut 28 jobs", "Pleased since last fall",
    ],
)  # fmt: skip
def test_a_headline_without_a_sure_opposite_has_none(headline: str) -> None:
    assert opposite_headline(headline) is None


@given(st.text())
def test_any_text_is_taken_and_never_given_back_unchanged(text: str) -> None:
    assert opposite_headline(text) != text
