"""Fixtures of the store's tests."""

import pytest

from finsent_batch.config import StoreConfig


@pytest.fixture
def config(tmp_path):
    return StoreConfig(path=tmp_path / "s.duckdb")
