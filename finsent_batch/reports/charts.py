"""Charts as SVG in a data URI, drawn by matplotlib, which is loaded when first needed.

Colors are of Okabe and Ito (2008), which color-blind readers can tell apart; each
is also named by its place, a word beside it or its line style.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..labels import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLORS: Final = dict(zip(LABELS, ("#D55E00", "#8A8F98", "#0072B2"), strict=True))
BARS: Final = "#56B4E9"
OTHER: Final = "#E69F00"
INK: Final = "#1b1f24"
SOFT: Final = "#57606a"

_WIDTH: Final = 4.8
"""Inches: at this size text can still be read where a telephone scales the chart down."""
_STYLE: Final[dict[str, Any]] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e3e7eb",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "finsent-batch",
    # A dollar in a model's name is a dollar.
    "text.parse_math": False,
}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One picture; `name` is its anchor, `alt` says in words what it shows."""

    name: str
    alt: str
    caption: str
    svg: bytes
    width: int
    height: int
    """CSS pixels."""

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode("ascii")


def draw(
    name: str,
    drawing: "Callable[[Figure], None]",
    *,
    alt: str,
    caption: str = "",
    height: float = 2.9,
) -> Chart:
    """Return what `drawing` draws on an empty figure; `height` is in inches."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    content = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        drawing(figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        # `savefig` would draw it all once before, with the same result.
        FigureCanvasSVG(figure).print_svg(content, metadata=nothing)
    return Chart(
        name=name,
        alt=alt,
        caption=caption,
        svg=content.getvalue(),
        width=round(_WIDTH * 96),
        height=round(height * 96),
    )


def percent_axis(axis: Any) -> None:
    """Write an axis of shares, 0 to 1, in per cent, at round numbers."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda share, _: f"{round(100 * share, 6):g}%")


def histogram(
    axes: "Axes",
    edges: Sequence[float],
    counts: Sequence[int],
    baseline: Sequence[int] | None,
) -> None:
    """Draw shares of rows over bins, those of earlier runs as an outline."""
    total = max(1, sum(counts))
    axes.stairs([c / total for c in counts], edges, fill=True, color=BARS, label="this run")
    before = sum(baseline or ())
    if baseline and before:
        axes.stairs(
            [c / before for c in baseline], edges, color=INK, linewidth=1.3, label="earlier runs"
        )
        axes.legend()
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("share of rows")
    percent_axis(axes.yaxis)


def short(text: str, length: int = 28) -> str:
    """Return a name that fits into a chart, on one line, its end kept."""
    printable = "".join(c if c.isprintable() else "�" for c in text)
    return printable if len(printable) <= length else "…" + printable[-length + 1 :]
