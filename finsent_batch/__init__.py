"""finsent-batch: label financial headlines in batches, each one once.

The names below are loaded when first used, so that importing the package is cheap.
"""

import logging
import os
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

# Before transformers is imported: it would else fetch compiled code from the Hub, and run it,
# where the package `kernels` is installed.
os.environ["USE_HUB_KERNELS"] = "NO"
# A library prints nothing: whoever wants its messages gives this logger a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from .api import Scorer as Scorer
    from .api import score_frame as score_frame
    from .config import CompareConfig as CompareConfig
    from .config import EvaluateConfig as EvaluateConfig
    from .config import LabelledFormat as LabelledFormat
    from .config import MergeConfig as MergeConfig
    from .config import ModelConfig as ModelConfig
    from .config import PrepareConfig as PrepareConfig
    from .config import PromoteConfig as PromoteConfig
    from .config import ScoreConfig as ScoreConfig
    from .config import StoreConfig as StoreConfig
    from .doctor import diagnose as diagnose
    from .errors import FinsentError as FinsentError
    from .evaluation.compare import compare as compare
    from .evaluation.evaluate import evaluate as evaluate
    from .evaluation.promote import promote as promote
    from .labelled.splits import prepare as prepare
    from .pipeline.score import score as score
    from .query_api import query as query
    from .query_api import query_sql as query_sql
    from .reports.config import ReportConfig as ReportConfig
    from .reports.run_report import report as report
    from .sql_functions import register as register
    from .train_config import TrainConfig as TrainConfig
    from .training.merge import merge as merge
    from .training.train import train as train

_EXPORTS = {
    "CompareConfig": "config",
    "EvaluateConfig": "config",
    "FinsentError": "errors",
    "LabelledFormat": "config",
    "MergeConfig": "config",
    "ModelConfig": "config",
    "PrepareConfig": "config",
    "PromoteConfig": "config",
    "ReportConfig": "reports.config",
    "ScoreConfig": "config",
    "Scorer": "api",
    "StoreConfig": "config",
    "TrainConfig": "train_config",
    "compare": "evaluation.compare",
    "diagnose": "doctor",
    "evaluate": "evaluation.evaluate",
    "merge": "training.merge",
    "prepare": "labelled.splits",
    "promote": "evaluation.promote",
    "query": "query_api",
    "query_sql": "query_api",
    "register": "sql_functions",
    "report": "reports.run_report",
    "score": "pipeline.score",
    "score_frame": "api",
    "train": "training.train",
}
"""The public face: each name and the module that has it."""

__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
    if isinstance(value, FunctionType):
        from .python_messages import python_face

        value = python_face(value)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
