"""A GPU's path through the encoder scorer where there is no GPU."""

import pytest

from finsent_batch.scorers.encoder import scorer as scorers
from finsent_batch.scorers.encoder.load import load_encoder


@pytest.fixture
def stand_in_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scorers made for `cuda` run on the CPU, by the classes that run on a GPU."""
    monkeypatch.setattr(scorers, "load_encoder", lambda spec, _: load_encoder(spec, "cpu"))
    monkeypatch.setattr(scorers, "gpu_memory", lambda: 0)
