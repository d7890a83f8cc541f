"""The manifest of a model directory, `finsent.json`: its name, format version and writing."""

import json
from pathlib import Path
from typing import Any, Final

from ..io.atomic import replacing

FORMAT_VERSION: Final = 1
LABEL_MAP_VERSION: Final = 2
"""Of a manifest with `label_map`, which versions that knew only 1 would pass over."""
MANIFEST_FILE: Final = "finsent.json"
MODEL_FILES: Final = (MANIFEST_FILE, "config.json", "adapter_config.json")
"""A folder that has one of these holds a model, of ours or another's."""
TRAINING_LOG: Final = "training_log.json"
"""What `train` logged, a list of entries by step; absent where another program trained."""


def write_manifest(folder: Path, card: dict[str, Any]) -> None:
    """Write `finsent.json`, whole or not at all."""
    with replacing(folder / MANIFEST_FILE) as temporary:
        temporary.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", "utf-8")
