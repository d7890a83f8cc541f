"""Pickled weights: told from none, converted to safetensors, and never run."""

import hashlib
import http.server
import json
import os
import pickle
import shutil
import threading

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from finsent_batch.errors import BadDataError, CannotCreateError, UsageError
from finsent_batch.models.convert import convert
from finsent_batch.models.directory import open_model

from ..helpers.references import ours

ID, COMMIT = "ProsusAI/finbert", "0" * 39 + "1"


def pickled(folder, model):
    """Copy a model with its weights as older versions of transformers saved them."""
    shutil.copytree(model, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture
def hub(tmp_path, tiny_model):
    """A Hub on loopback with one model that has pickled weights only; gives its environment."""
    source = pickled(tmp_path / "source", tiny_model)
    prefix = f"/api/models/{ID}"

    class Hub(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, *, body=True):
            files, content, headers = sorted(source.iterdir()), b"{}", {"X-Repo-Commit": COMMIT}
            file = source / self.path.split("?")[0].rpartition("/")[2]
            if self.path.startswith(f"{prefix}/tree"):
                tree = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0" * 40}
                        for f in files]  # fmt: skip
                content = json.dumps(tree).encode()
            elif self.path.startswith(prefix):
                names = [{"rfilename": f.name} for f in files]
                found = {"id": ID, "sha": COMMIT, "private": False, "siblings": names}
                content = json.dumps(found).encode()
            elif "/resolve/" in self.path and file.is_file():
                content = file.read_bytes()
                headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
            else:
                headers["X-Error-Code"] = "EntryNotFound"
            self.send_response(404 if "X-Error-Code" in headers else 200)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }
    server.shutdown()


def test_an_id_with_pickled_weights_is_converted_and_scored(run_process, hub, tmp_path, tiny_model):
    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / "feed.parquet")
    score = ("score", "feed.parquet", "-o", "o.parquet", "--model")
    done = run_process(*score, ID, env=hub)
    assert done.code == 78, done.err
    assert f"finsent-batch models convert {ID} -o DIR" in done.err
    done = run_process("models", "convert", ID, "-o", "converted", env=hub)
    assert done.code == 0, done.err
    assert run_process(*score, "converted").code == 0
    assert ours(tmp_path / "converted") == pytest.approx(ours(tiny_model), abs=1e-6)


def test_a_folder_of_the_hubs_cache_is_its_snapshot(tmp_path, tiny_model):
    cache = tmp_path / "models--owner--name"
    shutil.copytree(tiny_model, cache / "snapshots" / COMMIT)
    assert open_model(str(cache)).base == (cache / "snapshots" / COMMIT).resolve()
    shutil.copytree(tiny_model, cache / "snapshots" / "other")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    assert open_model(str(cache)).base == (cache / "snapshots" / COMMIT).resolve()


def test_a_filled_cache_needs_no_network(run_process, tmp_path, tiny_model):
    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / "feed.parquet")
    kept = tmp_path / "hf" / "hub" / "models--owner--name"
    shutil.copytree(tiny_model, kept / "snapshots" / COMMIT)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(COMMIT)
    env = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    done = run_process("score", "feed.parquet", "-o", "o.parquet", "--model", "owner/name", env=env)
    assert done.code == 0, done.err


def test_shards_are_converted(tmp_path, tiny_model):
    source = pickled(tmp_path / "source", tiny_model)
    weights = torch.load(source / "pytorch_model.bin", weights_only=True)
    (source / "pytorch_model.bin").unlink()
    names = sorted(weights)
    parts = {"pytorch_model-00001-of-00002.bin": names[::2],
             "pytorch_model-00002-of-00002.bin": names[1::2]}  # fmt: skip
    for file, kept in parts.items():
        torch.save({name: weights[name] for name in kept}, source / file)
    index = {"weight_map": {name: file for file, kept in parts.items() for name in kept}}
    (source / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    files = convert(str(source), tmp_path / "out")
    assert [f.name for f in files] == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    ]  # fmt: skip
    assert ours(tmp_path / "out") == pytest.approx(ours(tiny_model), abs=1e-6)


class Canary:
    """Unpickled by another unpickler, it makes the file `song`."""

    def __reduce__(self):
        return (os.system, ("touch song",))


@pytest.mark.parametrize("content", [Canary(), {"a": Canary()}, {"a": 1}, [1, 2]])
def test_what_is_no_tensor_is_refused_and_never_run(tmp_path, monkeypatch, tiny_model, content):
    monkeypatch.chdir(tmp_path)
    source = pickled(tmp_path / "source", tiny_model)
    (source / "pytorch_model.bin").write_bytes(pickle.dumps(content))
    with pytest.raises(BadDataError, match="cannot be converted"):
        convert(str(source), tmp_path / "out")
    assert not (tmp_path / "song").exists()
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_safetensors_need_no_conversion(tmp_path, tiny_model):
    with pytest.raises(UsageError, match="has safetensors already"):
        convert(str(tiny_model), tmp_path / "out")


def test_a_model_is_not_replaced_unasked(tmp_path, tiny_model):
    source = pickled(tmp_path / "source", tiny_model)
    convert(str(source), tmp_path / "out")
    with pytest.raises(CannotCreateError, match="holds a model"):
        convert(str(source), tmp_path / "out")
    convert(str(source), tmp_path / "out", overwrite=True)
    with pytest.raises(CannotCreateError, match="is what is converted"):
        convert(str(source), source, overwrite=True)
