"""finsent-batch: label financial headlines in batches, each one once.

The names below are loaded when first used, so that importing the package is cheap.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

# Before transformers is imported: it would else fetch compiled code from the Hub, and run it,
# where the package `kernels` is installed.
os.environ["USE_HUB_KERNELS"] = "NO"

if TYPE_CHECKING:
    from .api import query, query_sql, score_frame
    from .config import (
        CompareConfig,
        EvaluateConfig,
        ModelConfig,
        PrepareConfig,
        ReportConfig,
        ScoreConfig,
        StoreConfig,
    )
    from .evaluation.compare import compare
    from .evaluation.evaluate import evaluate
    from .pipeline.score import score
    from .reports.run_report import report


_HOMES = {
    "CompareConfig": "config",
    "EvaluateConfig": "config",
    "ModelConfig": "config",
    "PrepareConfig": "config",
    "ReportConfig": "config",
    "ScoreConfig": "config",
    "StoreConfig": "config",
    "compare": "evaluation.compare",
    "evaluate": "evaluation.evaluate",
    "query": "api",
    "query_sql": "api",
    "report": "reports.run_report",
    "score": "pipeline.score",
    "score_frame": "api",
}

__all__ = [
    "CompareConfig",
    "EvaluateConfig",
    "ModelConfig",
    "PrepareConfig",
    "ReportConfig",
    "ScoreConfig",
    "StoreConfig",
    "__version__",
    "compare",
    "evaluate",
    "query",
    "query_sql",
    "report",
    "score",
    "score_frame",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
