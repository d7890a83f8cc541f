"""Invented names of companies and people; a likeness to real ones is chance."""

import random
from typing import Final


def _words(text: str) -> list[str]:
    return [word.replace("_", " ") for word in text.split()]


_START: Final = _words("""
    Nor Vald Tekn Mer Sol Kar Hal Bren Ost Fal Lind Tor Vik Ras Kem Pol Sten Bal Ver Cas Dal Elm
    Fen Gar Hav Iv Jor Kal Lum Mag Ned Or Pel Quen Rov Sar Tam Ul Vel Wex Yar Zan Ark Bor Cor
    Dun Est Fri Gran Hek Ind Kost Lar Mon Nav Pri Rin Sel Tri Var Wil Aal Bas Cel Dro Ekl Fos
    Gul Hem
""")
_END: Final = _words("""
    via tek rion mar nen la strom lin tron mex ora ex is ium sta vik berg dale wood on ax ent
    era ico une ik ssen qvist lund tec cor net gen med plan forss aro elo inen ola amo ita ward
    ton field son oma
""")
_FIRST: Final = _words("""
    Anna Mikko Johan Lars Petra Kaisa Erik Ingrid Timo Jukka Marja Peter Helen James Laura
    Robert Priya Rahul Kenji Mei Carlos Sofia Pierre Claire Hans Ulrike Olga Ivan Tomas Karin
    David Susan Nils Eeva
""")
_LAST: Final = _words("""
    nen la berg son sen man ski rup holm stedt er kova elli oto ez ard field well
""")
_TRADE: Final = _words("""
    Steel Paper Foods Pharma Logistics Energy Systems Software Bank Insurance Foundries Shipping
    Tyres Telecom Networks Properties Packaging Chemicals Motors Brewery Media Retail Airways
    Electronics Construction Minerals Instruments Biotech Textiles Forest Technologies Solutions
    Industries Marine Power Components Wireless Engineering Financial Capital Diagnostics
    Publishing Elevators Cranes
""")
_FORM: Final = _words("""
    Oyj Oy Corporation Corp Group Plc AB ASA A/S AG GmbH SA SpA Inc Inc. Ltd Limited Holdings
    Holding NV Co PLC Group_Plc &_Co Industries International Kft OU AS BV Sdn_Bhd KK Abp
""")


def company(draw: random.Random) -> str:
    """Return a company's name: with its trade, its legal form, both, or as initials."""
    name = draw.choice(_START) + draw.choice(_END)
    way = draw.random()
    if way < 0.06:
        name = "".join(draw.choice("ABCDEFGHKLMNPRSTVZ") for _ in range(draw.choice((2, 3, 3))))
    if way < 0.25:
        return name
    if way < 0.5:
        return f"{name} {draw.choice(_FORM)}"
    if way < 0.75:
        return f"{name} {draw.choice(_TRADE)}"
    if way < 0.85:
        return f"{name}-{draw.choice(_START)}{draw.choice(_END)}"
    return f"{name} {draw.choice(_TRADE)} {draw.choice(_FORM)}"


def person(draw: random.Random) -> str:
    """Return the name of a person."""
    return f"{draw.choice(_FIRST)} {draw.choice(_START)}{draw.choice(_LAST)}"
