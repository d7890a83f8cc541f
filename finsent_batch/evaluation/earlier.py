"""An evaluation that is in the output folder already."""

import json
from collections.abc import Sequence

from ..config import EvaluateConfig
from ..errors import CannotCreateError


def check_earlier(config: EvaluateConfig, fingerprints: Sequence[str]) -> None:
    """Refuse to replace what is not the evaluation of these same models on this same data.

    Raises:
        CannotCreateError: another evaluation is there, and `config.overwrite` is not set.
    """
    file = config.output / "metrics.json"
    if config.overwrite or not file.exists():
        return
    try:
        there = dict(json.loads(file.read_text("utf-8")))
    except (ValueError, TypeError, OSError):
        there = {}
    sides = filter(None, [there, there.get("against")])
    models = [side.get("model_fingerprint") for side in sides]
    if "cascade" in there:
        models.append(there["cascade"].get("first_fingerprint"))
    if models != list(fingerprints) or there.get("data") != str(config.data):
        raise CannotCreateError(
            f"{config.output} holds another evaluation, of {there.get('model', 'a model')} on "
            f"{there.get('data', 'some data')}: name another folder with -o, or replace it with "
            "--overwrite"
        )
