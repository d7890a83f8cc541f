"""How near a tie must be for a fast arithmetic to have turned it: measured for each model.

Rounding moves a probability by so much that depends on the weights. What it moves the margin
between the two best labels by, on a few hundred headlines, says below which margin an answer is
not sure; those are scored again: int8's and bf16's of an encoder in fp32, and fp8's of a causal
model in bf16.
"""

import random
from typing import Final

import numpy as np

from ..arrays import FloatArray
from ..config import DEFAULT_MODEL
from ..models.spec import ModelSpec

HEADLINES: Final = 384
SAFETY: Final = 1.25
"""The largest shift that was seen, times this, is the margin."""
SMALLEST: Final = 1e-4
"""Also where nothing was seen to move: an answer without a number is no sure one."""
LARGEST: Final = 0.5
"""With a margin beyond this most headlines would be scored twice: all are scored in fp32."""
NEVER: Final = 1.0
"""The margin of a model whose answers the fast arithmetic does not keep."""
LEAD_SHARE: Final = 0.95
"""fp8 moves the leads of so many headlines by no more than what its margin allows for; what moves
the others flips a label only where that lead is short."""
SMALLEST_LEAD: Final = 0.01
"""The same for an fp8 that moved nothing."""
EMBEDDED: Final = {"int8": 0.11, "bf16": 0.02}
"""Those of `mini`, 0.105 and 0.0185 rounded up; benchmarks/mini_throughput.py and encoder_gpu.py
check its labels."""
_TINY = float(np.finfo(np.float32).tiny)

_FIRMS = (
    "Varnholt Steel", "Kestrel Foods", "Tallow Bank", "Ormskirk Air", "Brightwell Energy",
    "Dunmore Textiles", "Linden Pharma", "Harlan Mining", "Solberg Shipping", "Calder Retail",
    "Redfern Motors", "Ashdown Insurance", "Pemberton Paper", "Eastgate Telecom",
)  # fmt: skip
_EVENTS = (
    "lifts full-year guidance", "cuts its dividend", "to hold its annual meeting in {city}",
    "wins a contract worth EUR {n} mn", "warns that profit will fall {p} %", "names a new CFO",
    "shares slump after recall", "net sales rose to EUR {n} mn", "closes its plant in {city}",
    "operating loss widened to EUR {n} mn", "profit doubles", "moves its head office to {city}",
    "is downgraded by two brokers", "completes the purchase of a rival", "faces a fine of {n} mn",
    "reports results in line with forecasts", "margin shrinks as costs grow", "orders rebound",
    "will publish its interim report on Thursday", "lays off {n} people",
)  # fmt: skip
_ENDINGS = (
    "",
    "",
    " as demand recovers",
    " despite weak demand",
    ", says chairman",
    " in the {q} quarter",
)
_CITIES = ("Oslo", "Leeds", "Porto", "Gdansk", "Graz", "Tampere")


def probe_headlines() -> list[str]:
    """Return `HEADLINES` distinct made-up headlines, the same ones always."""
    draw, found = random.Random(0), dict[str, None]()
    while len(found) < HEADLINES:
        text = f"{draw.choice(_FIRMS)} {draw.choice(_EVENTS)}{draw.choice(_ENDINGS)}"
        found[
            text.format(
                city=draw.choice(_CITIES),
                n=round(draw.uniform(1, 900), 1),
                p=draw.randint(2, 40),
                q=draw.choice(("first", "second", "third", "fourth")),
            )
        ] = None
    return list(found)


def measured_margin(fast: FloatArray, full: FloatArray) -> float:
    """Return the margin below which fast answers are not sure; `NEVER` if none is to be taken.

    `fast` and `full` are the fast arithmetic's and fp32's probabilities of the same headlines,
    (n, 3). An answer flips only where the shift between its two best labels is larger than its
    margin.
    """
    moved = fast - full
    apart = moved[:, :, None] - moved[:, None, :]
    largest = round(float(np.abs(apart).max()) * SAFETY, 4)
    return max(SMALLEST, largest) if np.isfinite(largest) and largest <= LARGEST else NEVER


def measured_lead(fast: FloatArray, full: FloatArray) -> float:
    """Return the margin below which fp8's answers are not sure; `NEVER` if none is to be taken.

    `fast` and `full` are probabilities in fp8 and bf16 of the same headlines, (n, 3). fp8 moves
    the logits of a sure answer and of an unsure one alike, which shows in the probabilities of the
    unsure one alone: so the shift between the two best labels is taken as one of logits, and the
    margin is what it makes of a tie of two.
    """
    order = np.argsort(-full, axis=1)[:, :2]
    ahead = [np.log(np.maximum(np.take_along_axis(p, order, 1), _TINY)) for p in (fast, full)]
    shifts = np.abs(np.subtract(*(logs[:, 0] - logs[:, 1] for logs in ahead)))
    widest = float(np.quantile(shifts, LEAD_SHARE))
    margin = round(float(np.tanh(widest / 2)), 4)
    return max(SMALLEST_LEAD, margin) if margin <= LARGEST else NEVER


def packaged_margin(spec: ModelSpec, weights: str) -> float | None:
    """Return the margin in an arithmetic that comes with a model: that of `mini`."""
    return EMBEDDED.get(weights) if spec.name == DEFAULT_MODEL else None
