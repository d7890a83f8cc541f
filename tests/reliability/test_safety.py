"""Nothing that lies in a model or a data file is ever run: canaries that would sing if it were."""

import csv
import json
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

# Every class that any unpickler looks up is told to audit hooks, wherever it is called from.
unpickled: list[object] = []
sys.addaudithook(
    lambda event, args: unpickled.append(args) if event == "pickle.find_class" else None
)


class Canary:
    """Unpickled, it makes the file `song`."""

    def __reduce__(self):
        return (os.system, ("touch song",))


@pytest.fixture
def watched(run, tmp_path):
    """Run a command line in which nothing may be unpickled, fetched or sung."""
    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / "feed.parquet")

    def call(*arguments):
        unpickled.clear()
        done = run(*arguments)
        assert unpickled == []
        assert not (tmp_path / "song").exists()
        assert not [name for name in sys.modules if name.startswith("transformers_modules")]
        kernels = sys.modules.get("transformers.integrations.hub_kernels")
        assert kernels is None or not kernels._kernels_enabled
        return done.code, done.err

    return call


def trapped(folder):
    """Lay traps into a model folder: pickles beside the weights, code that configs ask for."""
    for name in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "model.pt"):
        (folder / name).write_bytes(pickle.dumps(Canary()))
    code = "import os; os.system('touch song')\nclass Evil: pass\n"
    (folder / "evil.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    names = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")
    config["auto_map"] = dict.fromkeys(names, "evil.Evil")
    (folder / "config.json").write_text(json.dumps(config))
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings["auto_map"] = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    file.write_text(json.dumps(settings))
    return folder


def test_the_canary_sings_when_it_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unpickled.clear()
    pickle.loads(pickle.dumps(Canary()))
    assert (tmp_path / "song").exists()
    assert unpickled == [("posix", "system")]


def test_traps_beside_safetensors_are_left_alone(watched, tiny_model, tmp_path):
    trapped(shutil.copytree(tiny_model, tmp_path / "model"))
    code, said = watched("score", "feed.parquet", "--model", "model", "--weights", "fp32")
    assert code == 0, said
    pl.DataFrame({"text": ["oil"] * 9, "label": ["positive", "negative", "neutral"] * 3}).write_csv(
        tmp_path / "labelled.csv"
    )
    code, said = watched("evaluate", "--model", "model", "--data", "labelled.csv", "-o", "report")
    assert code == 0, said


@pytest.mark.parametrize("kind", ["BertTokenizer", "Evil"])
def test_a_tokenizer_of_the_model_s_own_making_is_not_run(watched, tiny_model, tmp_path, kind):
    model = trapped(shutil.copytree(tiny_model, tmp_path / "model"))
    (model / "tokenizer.json").unlink()
    (model / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\noil\nfalls\n")
    settings = json.loads((model / "tokenizer_config.json").read_text())
    settings["tokenizer_class"] = kind
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    code, said = watched("score", "feed.parquet", "--model", "model", "--weights", "fp32")
    assert code == (0 if kind == "BertTokenizer" else 78), said
    assert code == 0 or "its tokenizer cannot be loaded" in said


def pickled_as(file):
    """Write a canary in the format of torch.save under a name that promises safetensors."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary()))
        archive.writestr("archive/version", "3")


@pytest.mark.parametrize("disguised", [False, True])
def test_weights_that_are_pickles_are_refused(watched, tiny_model, tmp_path, disguised):
    model = trapped(shutil.copytree(tiny_model, tmp_path / "model"))
    (model / "model.safetensors").unlink()
    if disguised:
        pickled_as(model / "model.safetensors")
    code, said = watched("score", "feed.parquet", "--model", "model", "--weights", "fp32")
    assert code == (65 if disguised else 78)
    assert ("is not a complete safetensors file" if disguised else "pickled weights only") in said


@pytest.mark.parametrize("disguised", [False, True])
def test_adapters_that_are_pickles_are_refused(watched, tmp_path, disguised):
    from finsent_batch.models import directory

    model = shutil.copytree(Path(directory.__file__).parent / "mini", tmp_path / "model")
    (model / "adapter_model.safetensors").unlink()
    (model / "adapter_model.bin").write_bytes(pickle.dumps(Canary()))
    if disguised:
        pickled_as(model / "adapter_model.safetensors")
    code, said = watched("score", "feed.parquet", "--model", "model")
    assert code == (65 if disguised else 66)
    assert (
        "is not a complete safetensors file" if disguised else "adapter_model.safetensors"
    ) in said


def test_a_base_to_train_on_is_held_to_the_same(watched, tiny_model, tmp_path):
    base = trapped(shutil.copytree(tiny_model, tmp_path / "base"))
    rows = {
        "text": [f"oil {i}" for i in range(60)],
        "label": ["positive", "negative", "neutral"] * 20,
    }
    pl.DataFrame(rows).write_csv(tmp_path / "mine.csv")
    assert watched("prepare", "mine.csv", "-o", "split")[0] == 0
    options = ("--data", "split", "--base", "base", "--num-train-epochs", "1", "--lora-r", "2")
    code, said = watched("train", "--preset", "mini", *options, "-o", "out")
    assert code == 0, said
    (base / "model.safetensors").unlink()
    assert watched("train", "--preset", "mini", *options, "-o", "other")[0] == 78


def test_a_pickle_in_the_schema_of_a_parquet_file_stays_one(watched, tmp_path):
    trap = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Canary()),
    }
    field = pa.field("headline", pa.string(), metadata=trap)
    table = pa.table([pa.array(["Oil falls"])], schema=pa.schema([field]))
    pq.write_table(table, tmp_path / "feed.parquet")
    code, said = watched("score", "feed.parquet", "--dry-run")
    assert code == 0, said


# ---- SQL


@pytest.fixture
def secret(tmp_path):
    """A file of someone else's, and a database whose views read it."""
    (tmp_path / "secret.csv").write_text("headline\ncanary\n")
    with duckdb.connect(tmp_path / "given.duckdb") as owner:
        path = tmp_path / "secret.csv"
        owner.execute(f"CREATE VIEW news AS SELECT headline FROM read_csv('{path}')")
        owner.execute(f"""CREATE VIEW scored AS SELECT content AS headline, 'positive' AS sentiment,
            1 AS sentiment_score, 0 AS p_negative, 0 AS p_neutral, 1 AS p_positive,
            'scored' AS score_status, 'f' AS model_fingerprint, 'r' AS run_id,
            now()::TIMESTAMP AS scored_at FROM read_text('{path}')""")
    return path


def test_a_view_of_an_input_reads_no_other_file(run, secret, tiny_model, tmp_path):
    done = run("score", "given.duckdb", "--table", "news", "-o", "o.csv", "--model", tiny_model)
    assert done.code == 65
    assert "reads other files, which is not allowed" in done.err
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("query", ["labelled", "label_mix", "most_positive", "daily_sentiment"])
def test_a_view_named_by_a_query_reads_no_other_file(run, secret, query):
    done = run("query", query, "--from", "given.duckdb::scored")
    assert done.code == 65
    assert "file system operations are disabled" in done.err
    assert "canary" not in done.out + done.err


@pytest.mark.parametrize(
    "name", ['a"b', "a'; DROP TABLE scores; --", "x) FROM secret --", "select", "a;b", "\\", "名"]
)
def test_names_are_names_and_never_sql(run, score, tmp_path, name):
    rows = pl.DataFrame({name: ["Oil falls"], "n": [1]})
    rows.write_parquet(tmp_path / "in.parquet")
    score("in.parquet", "--text-column", name, "-o", "out.duckdb", "--output-table", name)
    score("out.duckdb", "--table", name, "--text-column", name, "--replace-columns", "-o", "o.csv")
    assert next(csv.reader((tmp_path / "o.csv").open(newline="")))[:2] == [name, "n"]
    assert run("store", "verify").code == 0
    assert run("query", "label_mix", "--from", f"out.duckdb::{name}").code == 0
