"""Whatever a library raises while it loads a model is one line, and a traceback under -vv."""

import logging
import shutil

import pytest
import torch

from finsent_batch.errors import (
    BadDataError,
    ConfigError,
    FinsentError,
    MissingInputError,
    UnavailableError,
)
from finsent_batch.scorers.guard import loading


class PanicException(BaseException):
    """As pyo3 names what a panic in Rust becomes, which is no Exception."""


class SafetensorError(Exception):
    pass


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ValueError("first\nsecond"), ConfigError),
        (RecursionError("too deep"), ConfigError),
        (IndexError(), ConfigError),
        (KeyError("x"), ConfigError),
        (PanicException("no entry found for key"), ConfigError),
        (OSError("no such file"), MissingInputError),
        (MemoryError(), UnavailableError),
        (SafetensorError("header too large"), BadDataError),
        (BadDataError("said already"), BadDataError),
    ],
)
def test_what_is_raised_becomes_one_line(raised, kind):
    with pytest.raises(FinsentError) as caught, loading("model m"):
        raise raised
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert "model m" in str(caught.value) or str(caught.value) == "said already"


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), SystemExit(3), torch.OutOfMemoryError()])
def test_what_others_handle_passes_through(raised):
    with pytest.raises(type(raised)), loading("model m"):
        raise raised


def test_the_traceback_is_in_the_log(caplog, monkeypatch):
    # A command that ran in this process before has set up the library's logger for itself.
    ours = logging.getLogger("finsent_batch")
    monkeypatch.setattr(ours, "propagate", True)
    caplog.set_level(logging.DEBUG, logger=ours.name)
    with pytest.raises(ConfigError), loading("model m"):
        raise ValueError("deep inside")
    assert "ValueError: deep inside" in caplog.text
    assert "Traceback" in caplog.text


def test_a_damaged_tokenizer_says_so_with_and_without_its_traceback(
    run, feed, tiny_model, tmp_path
):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    (model / "tokenizer.json").write_text("{")
    score = ("score", "feed.parquet", "--model", model)
    done = run(*score)
    assert done.code == 78
    assert len(done.err.splitlines()) == 1
    done = run("-vv", *score)
    assert done.code == 78
    assert "Traceback" in done.err
