"""One identity of a model: each file that a loader could open is in its fingerprint, or refused."""

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import duckdb
import pytest
from safetensors.numpy import load_file, save_file

from finsent_batch.config import StoreConfig
from finsent_batch.errors import TryAgainError
from finsent_batch.models.directory import open_model
from finsent_batch.models.weight_files import FileHashes
from finsent_batch.store.store import Store

from ..helpers.causal_models import save_adapter
from .test_imports import mini, rewritten

INDEX = "model.safetensors.index.json"


@pytest.fixture
def model(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def fingerprint(folder):
    return open_model(str(folder)).fingerprint("fp32", FileHashes())


def sharded(model, **places):
    """Name the model's weights in an index; a shard of another name holds them."""
    weights = model / "model.safetensors"
    names = list(load_file(weights))
    weights.rename(model / places.get("to", "weights-a.safetensors"))
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, places.get("named"))}
    (model / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    "name",
    ["merges.txt", "vocab.json", "special_tokens_map.json", "added_tokens.json", "spiece.model",
     "source.spm", "sentencepiece.bpe.model", "chat_template.jinja", "generation_config.json",
     "adapter_model.safetensors", "anything", INDEX],
)  # fmt: skip
def test_each_file_that_a_loader_could_open_counts(model, name):
    found = [fingerprint(model)]
    for content in ("{}", '{"a": 1}'):
        (model / name).write_text(content)
        found.append(fingerprint(model))
    assert len(set(found)) == 3


@pytest.mark.parametrize("kind", ["base", "adapter"])
def test_the_files_of_base_and_adapter_count(causal_base, tmp_path, kind):
    base = shutil.copytree(causal_base(), tmp_path / "base")
    adapter = save_adapter(tmp_path / "adapter", base)
    before = fingerprint(adapter)
    (tmp_path / kind / "added_tokens.json").write_text("{}")
    assert fingerprint(adapter) != before


def test_what_no_loader_opens_does_not_count(model):
    before = fingerprint(model)
    unopened = (
        "README.md LICENSE LICENSE.txt training_log.json .gitattributes evil.py "
        "pytorch_model.bin report.html metrics.json predictions.csv"
    )
    for name in unopened.split():
        (model / name).write_text("x")
    for name in ("logs", "checkpoints", "onnx"):
        (model / name).mkdir()
        (model / name / "model.safetensors").write_text("x")
    assert fingerprint(model) == before


def test_a_shard_counts_under_whatever_name_the_index_gives_it(model, score, feed):
    sharded(model, named="weights-a.safetensors")
    first = score("feed.parquet", model=model)
    shard = model / "weights-a.safetensors"
    tensors = load_file(shard)
    tensors["classifier.weight"] = -tensors["classifier.weight"]
    save_file(tensors, shard, metadata={"format": "pt"})
    second = score("feed.parquet", model=model)
    assert second["model_fingerprint"] != first["model_fingerprint"]
    assert second["rows"]["unique_scored"] == first["rows"]["unique_scored"] == 8


def test_a_hub_cache_of_links_is_the_model_that_it_links_to(model, tmp_path):
    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "c0ffee"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for i, file in enumerate(sorted(model.iterdir())):
        shutil.copy(file, blobs / str(i))
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", str(i)))
    assert fingerprint(snapshot) == fingerprint(model)


OUTSIDE = ["../w.safetensors", "/w.safetensors", "sub/w.safetensors", "w.bin", "..", ""]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_that_leads_elsewhere_is_refused(run, model, feed, name):
    for place in ("../w.safetensors", "w.bin"):
        shutil.copy(model / "model.safetensors", model / place)
    sharded(model, named=name)
    done = run("score", "feed.parquet", "--model", model)
    assert done.code == 78, done.err
    assert f"{INDEX} names" in done.err
    assert len(done.err.splitlines()) == 1


def test_files_named_elsewhere_by_settings_are_refused(run, model, feed, tmp_path):
    shutil.copy(model / "tokenizer.json", tmp_path / "tokenizer.json")
    for file, entry in (
        ("config.json", {"transformers_weights": "other.safetensors"}),
        ("config.json", {"configuration_files": ["../config.4.0.0.json"]}),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["../tokenizer.4.0.0.json"]}),
        ("tokenizer_config.json", {"tokenizer_file": str(tmp_path / "tokenizer.json")}),
    ):
        kept = (model / file).read_text()
        rewritten(model / file, **entry)
        done = run("score", "feed.parquet", "--model", model)
        assert done.code == 78, done.err
        assert next(iter(entry)) in done.err
        assert len(done.err.splitlines()) == 1
        (model / file).write_text(kept)
    assert run("score", "feed.parquet", "--model", model).code == 0


def test_an_adapter_beside_whole_weights_is_refused(run, model, feed, causal_base, tmp_path):
    adapter = save_adapter(tmp_path / "adapter", causal_base())
    merged = tmp_path / "merged"
    assert run("merge", adapter, "-o", merged).code == 0
    base = shutil.copytree(causal_base(), tmp_path / "base")
    on_base = save_adapter(tmp_path / "on_base", base)
    for whole, named in ((model, model), (merged, merged), (base, on_base)):
        shutil.copy(adapter / "adapter_config.json", whole)
        shutil.copy(adapter / "adapter_model.safetensors", whole)
        done = run("score", "feed.parquet", "--model", named)
        assert done.code == 78, done.err
        assert "adapter" in done.err
        assert len(done.err.splitlines()) == 1
        (whole / "adapter_config.json").unlink()
        (whole / "adapter_model.safetensors").unlink()
        assert run("score", "feed.parquet", "--model", named).code == 0


def test_a_pipe_in_a_model_s_folder_is_refused(run, model, feed):
    os.mkfifo(model / "added_tokens.json")
    done = run("score", "feed.parquet", "--model", model)
    assert done.code == 78
    assert "is not a regular file" in done.err


def test_the_embedded_model_is_whole():
    assert len(fingerprint("mini")) == 32
    assert fingerprint("mini") == fingerprint("mini")


# ---- hashes remembered


@pytest.fixture
def large(tmp_path):
    """A file large enough to be remembered, left alone for long enough."""
    file = tmp_path / "large.safetensors"
    file.write_bytes(b"a" * 9_000_000)
    time.sleep(2.1)
    return file


def test_a_file_replaced_with_size_and_time_kept_is_read_again(large, tmp_path):
    config = StoreConfig(path=tmp_path / "s.duckdb")
    with Store.open(config) as store:
        hashes = FileHashes(store.connection)
        first = hashes.sha256(large)
        hashes.save()
        assert store.query("SELECT sha256 FROM hashed_files") == [(first,)]
    times = large.stat().st_atime_ns, large.stat().st_mtime_ns
    for in_place in (True, False):
        other = tmp_path / "other"
        with (large if in_place else other).open("r+b" if in_place else "wb") as stream:
            stream.write(b"bc"[in_place : in_place + 1] * 9_000_000)
        if not in_place:
            other.replace(large)
        os.utime(large, ns=times)
        with Store.open(config, read_only=True) as store:
            assert FileHashes(store.connection).sha256(large) != first
            assert FileHashes(store.connection).sha256(large) == FileHashes().sha256(large)


def test_a_known_file_is_not_read_again(large, tmp_path):
    with Store.open(StoreConfig(path=tmp_path / "s.duckdb")) as store:
        hashes = FileHashes(store.connection)
        hashes.sha256(large)
        hashes.save()
        store.connection.execute("UPDATE hashed_files SET sha256 = 'remembered'")
        assert FileHashes(store.connection).sha256(large) == "remembered"


def test_neither_a_young_nor_a_small_file_is_remembered(tmp_path):
    with Store.open(StoreConfig(path=tmp_path / "s.duckdb")) as store:
        hashes = FileHashes(store.connection)
        for name, size in (("young", 9_000_000), ("small", 10)):
            (tmp_path / name).write_bytes(b"a" * size)
            hashes.sha256(tmp_path / name)
        hashes.save()
        assert store.query("FROM hashed_files") == []


def test_a_file_that_grows_while_it_is_read_is_no_version_of_it(tmp_path, monkeypatch):
    file = tmp_path / "f"
    file.write_bytes(b"a")

    whole = hashlib.file_digest

    def digest(stream, kind):
        with file.open("ab") as more:
            more.write(b"b")
        return whole(stream, kind)

    monkeypatch.setattr("hashlib.file_digest", digest)
    with pytest.raises(TryAgainError, match="changed while it was read"):
        FileHashes().sha256(file)


def test_a_store_with_the_earlier_cache_opens(run, feed, tmp_path):
    assert run("score", "feed.parquet").code == 0
    with duckdb.connect(tmp_path / "finsent.duckdb") as store:
        store.execute("DROP TABLE hashed_files")
        store.execute("UPDATE store_info SET schema_version = 1")
        store.execute(
            "CREATE TABLE file_hashes (path VARCHAR PRIMARY KEY, size BIGINT NOT NULL, "
            "mtime_ns BIGINT NOT NULL, sha256 VARCHAR NOT NULL)"
        )
        store.execute("INSERT INTO file_hashes VALUES ('m', 1, 2, 'x')")
    assert run("score", "feed.parquet", "--dry-run").code == 0
    done = run("score", "feed.parquet", "--summary", "json")
    assert done.code == 0, done.err
    assert done.json["rows"]["unique_scored"] == 0
    with duckdb.connect(tmp_path / "finsent.duckdb", read_only=True) as store:
        assert ("file_hashes",) not in store.execute("SHOW TABLES").fetchall()
    assert run("store", "verify").code == 0


def test_mini_s_base_may_not_differ_by_a_byte(run, feed, tmp_path):
    base = shutil.copytree(open_model("mini").base, tmp_path / "base")
    card = json.loads((mini(tmp_path / "m") / "finsent.json").read_text())
    card["base"]["id"] = str(base)
    (tmp_path / "m" / "finsent.json").write_text(json.dumps(card))
    assert run("score", "feed.parquet", "--model", "m").code == 0
    weights = base / "model.safetensors"
    times = weights.stat().st_atime_ns, weights.stat().st_mtime_ns
    with weights.open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    os.utime(weights, ns=times)
    done = run("score", "feed.parquet", "--model", "m")
    assert done.code == 78
    assert "trained on another base" in done.err
