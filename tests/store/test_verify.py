"""`store verify`: what it finds in a store that does not hold together."""

import pytest

from finsent_batch.store.store import Store
from finsent_batch.store.verify import verify

from ..helpers.store_rows import fill, score_row


def findings(config):
    with Store.open(config, read_only=True) as store:
        return verify(store)


def test_verify_finds_nothing_in_a_sound_store(config):
    fill(config, score_row(1), score_row(1, model_fingerprint="f2"), score_row(2))
    with Store.open(config) as store:
        store.insert("models", {"model_fingerprint": "f2"})
    assert findings(config) == []


@pytest.mark.parametrize(
    ("row", "finding"),
    [
        (score_row(1), "1 headline and model pairs scored more than once"),
        (score_row(2, p_neutral=0.31), "1 scores whose probabilities do not sum to 1"),
        (score_row(2, p_neutral=float("nan")), "1 scores whose probabilities do not sum to 1"),
        (score_row(2, model_fingerprint="g"), "1 scores of a model that is not in models"),
        (score_row(2, run_id="other"), "1 scores of a run that is not in runs"),
    ],
)
def test_verify_finds(config, row, finding):
    fill(config, score_row(1), row)
    assert findings(config) == [finding]


def test_verify_finds_answers_that_nobody_was_asked_for(config):
    with Store.open(config) as store:
        store.connection.execute(
            "INSERT INTO reviews VALUES (uuid(), 'Oil falls', 'negative', 'Anna', now()::TIMESTAMP)"
        )
    assert findings(config) == ["1 answers about headlines that were drawn for no review"]


def test_verify_meets_a_damaged_block(config):
    fill(config)
    with Store.open(config) as store:
        store.connection.execute(
            "INSERT INTO scores SELECT md5(i::VARCHAR)::UUID, 'f', 'Headline ' || md5(i::VARCHAR), "
            "0.2, 0.3, 0.5, false, 'run', now() FROM range(50000) AS t(i)"
        )
    assert findings(config) == []
    damaged = bytearray(config.path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 64] = bytes(64)
    config.path.write_bytes(damaged)
    [found] = findings(config)
    assert found.startswith("cannot be read: ")


def test_store_verify_job(run, config):
    fill(config, score_row(1))
    done = run("--store", config.path, "store", "verify")
    assert (done.code, done.out) == (0, f"{config.path}: sound, 1 score\n")
    fill(config, score_row(1))
    done = run("--store", config.path, "store", "verify")
    assert done.code == 65
    assert "is not sound: 1 headline and model pairs scored more than once: move it" in done.err
