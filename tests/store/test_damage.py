"""A store with bytes changed or cut off: every command says so in one line, or works."""

import random

import pytest

from finsent_batch.config import StoreConfig
from finsent_batch.store.store import Store

from ..helpers.stores import remove_store


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a store of 20,000 scores."""
    path = tmp_path_factory.mktemp("store") / "s.duckdb"
    with Store.open(StoreConfig(path=path)) as store:
        store.insert("runs", {"run_id": "r", "status": "done", "started_at": "2024-01-01"})
        store.insert("models", {"model_fingerprint": "f"})
        store.connection.execute(
            "INSERT INTO scores SELECT md5(i::VARCHAR)::UUID, 'f', 'Headline ' || i, "
            "0.2, 0.3, 0.5, false, 'r', now() FROM range(20000) AS t(i)"
        )
    return path.read_bytes()


def damaged(content, seed):
    """Cut the file off, or write other bytes over some of it, near its start or anywhere."""
    draw = random.Random(seed)
    if seed % 3 == 0:
        return content[: draw.randrange(len(content))]
    at = draw.randrange(20_000 if seed % 3 == 1 else len(content))
    new = draw.randbytes(draw.choice([1, 64, 4096]))[: len(content) - at]
    return content[:at] + new + content[at + len(new) :]


@pytest.mark.parametrize("seed", range(18))
def test_whatever_is_damaged_is_named_and_never_a_traceback(
    run, feed, tmp_path, tiny_model, sound, seed
):
    store = tmp_path / "finsent.duckdb"
    store.write_bytes(damaged(sound, seed))
    verified = run("store", "verify")
    assert verified.code in (0, 65)
    assert verified.code == 0 or "move it away" in verified.err.lower()
    commands = [["runs"], ["store", "export", "-o", "backup"], ["store", "compact"],
                ["score", "feed.parquet", "--model", tiny_model, "--weights", "fp32"]]  # fmt: skip
    for command in commands:
        remove_store(store)
        store.write_bytes(damaged(sound, seed))
        done = run(*command)
        # What verify finds nothing in does no harm to any command.
        assert done.code in ((0,) if verified.code == 0 else (0, 65)), done.err
        assert len(done.err.splitlines()) <= 1
