"""What a training cannot use is said in one line, before anything is trained or replaced."""

import json
import shutil
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file, save_file

from ..conftest import Result
from ..helpers.qlora import arguments, save_split, weights

Run = Callable[..., Result]
Base = Callable[..., Path]


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return save_split(tmp_path / "split")


@pytest.fixture
def base(causal_base: Base, tmp_path: Path) -> Path:
    """A base of one's own, to be damaged."""
    return Path(shutil.copytree(causal_base(), tmp_path / "base"))


@pytest.fixture(params=["llama2-7b", "mini"])
def refused(
    request: pytest.FixtureRequest, run: Run, base: Path, tiny_model: Path, tmp_path: Path
) -> Callable[..., str]:
    """Train, which must fail and leave no model; gives what was said."""

    def call(code: int, *folders: Path) -> str:
        model = base if request.param == "llama2-7b" else tiny_model
        data = [part for folder in folders for part in ("--data", folder)]
        done = run("train", "--preset", request.param, "--base", model, "-o", "m", *data)
        assert done.code == code, done.err
        assert done.err.count("\n") == 1
        assert not (tmp_path / "m" / "finsent.json").exists()
        return done.err

    return call


def edit(file: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_parquet(file)).write_parquet(file)


def test_labels_outside_the_three_are_named_with_their_counts(
    refused: Callable[..., str], split: Path
) -> None:
    odd = pl.Series("label", ["great", "bad", "great"])
    edit(split / "train.parquet", lambda d: d[:3].with_columns(odd).vstack(d[3:]))
    said = refused(65, split)
    assert "train.parquet has labels other than negative, neutral, positive" in said
    assert "'bad' (1 row), 'great' (2 rows)" in said
    assert "prepare's --label-map" in said


def test_a_class_without_rows_is_named(refused: Callable[..., str], split: Path) -> None:
    edit(split / "train.parquet", lambda d: d.filter(pl.col("label") != "neutral"))
    assert "the training rows have no neutral headline" in refused(65, split)


def test_a_file_that_is_no_labelled_data_is_named(refused: Callable[..., str], split: Path) -> None:
    edit(split / "valid.parquet", lambda d: d.rename({"label": "tone"}))
    assert "valid.parquet has no column label" in refused(65, split)
    (split / "valid.parquet").write_bytes(b"no Parquet")
    assert "valid.parquet is not a readable Parquet file" in refused(65, split)


def test_agreement_has_the_values_of_phrasebank(refused: Callable[..., str], split: Path) -> None:
    edit(split / "train.parquet", lambda d: d.with_columns(agreement=pl.lit(0.9)))
    assert "agreement is 0.5, 0.66, 0.75, 1.0 or null" in refused(65, split)


@pytest.mark.parametrize(("one", "other"), permutations(("train", "valid", "test"), 2))
def test_a_headline_in_two_splits_of_a_folder_is_refused(
    one: str, other: str, refused: Callable[..., str], split: Path
) -> None:
    copied = pl.read_parquet(split / f"{one}.parquet")[:2]
    copied = copied.with_columns(pl.col("headline").str.to_uppercase() + " .")
    edit(split / f"{other}.parquet", lambda d: pl.concat([d, copied]))
    said = refused(65, split)
    assert "2 headlines stand in both" in said
    assert one in said
    assert other in said


def test_a_headline_in_splits_of_two_folders_is_refused(
    refused: Callable[..., str], split: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(split, tmp_path / "other"))
    shutil.copyfile(split / "test.parquet", other / "train.parquet")
    for name in ("valid", "test"):
        edit(other / f"{name}.parquet", lambda d: d.with_columns(pl.col("headline") + " again"))
    said = refused(65, split, other)
    assert "6 headlines stand in both train and test" in said
    assert "prepare --exclude" in said


def test_what_training_reads_is_not_written_to(
    run: Run, split: Path, base: Path, tmp_path: Path
) -> None:
    before = {f.name: f.read_bytes() for f in base.iterdir()}
    for output, more in ((base, ()), (base, ("--overwrite",)), (split, ("--overwrite",))):
        done = run(*arguments(split, base, output, *more))
        assert done.code == 73, done.err
    assert {f.name: f.read_bytes() for f in base.iterdir()} == before
    assert run(*arguments(split, base, tmp_path / "m")).code == 0
    adapter = weights(tmp_path / "m")
    for output in ("m", base):
        done = run("merge", "m", "-o", output, "--overwrite")
        assert (done.code, "is a model that this command reads" in done.err) == (73, True), done.err
    shutil.copytree(tmp_path / "m", tmp_path / "other")
    (tmp_path / "other" / "finsent.json").unlink()
    done = run("merge", "m", "-o", "other")
    assert (done.code, "holds a model" in done.err) == (73, True), "an adapter is one as well"
    assert run("merge", "m", "-o", "other", "--overwrite").code == 0
    assert not (tmp_path / "other" / "adapter_config.json").exists()
    assert weights(tmp_path / "m") == adapter
    assert {f.name: f.read_bytes() for f in base.iterdir()} == before


def shard(base: Path) -> None:
    """Put a base's weights into two files with an index, as large ones are published."""
    tensors = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    where = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for file in set(where.values()):
        part = {name: tensors[name] for name in tensors if where[name] == file}
        save_file(part, base / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": where}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))


def test_a_base_in_several_files_is_trained_or_its_missing_part_named(
    run: Run, split: Path, base: Path, tmp_path: Path
) -> None:
    shard(base)
    assert run(*arguments(split, base, tmp_path / "m", "--num-train-epochs", 1)).code == 0
    lost = {"model-00002-of-00002.safetensors", "model.safetensors.index.json"}
    for name in lost:
        kept = (base / name).read_bytes()
        (base / name).unlink()
        done = run(*arguments(split, base, tmp_path / "n"))
        assert done.code == 66, done.err
        assert f"lacks {name}: its download or copy was cut short" in done.err
        (base / name).write_bytes(kept)


def test_a_hub_model_here_only_in_part_is_downloaded_on(
    run: Run, split: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    shard(base)
    part = base / "model-00001-of-00002.safetensors"
    content = part.read_bytes()
    part.unlink()
    online = []

    def download(name: str, *, local_files_only: bool = False, **_: object) -> str:
        if not local_files_only:
            if not online:
                raise OSError("no network")
            part.write_bytes(content)
        return str(base)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    command = arguments(split, "acme/llama", tmp_path / "m", "--num-train-epochs", 1)
    done = run(*command)
    assert done.code == 66
    assert "here only in part (it lacks model-00001-of-00002.safetensors)" in done.err
    assert "hf download acme/llama" in done.err
    online.append(True)
    done = run(*command)
    assert done.code == 0, done.err


def test_a_base_without_a_tokenizer_says_what_to_copy(
    run: Run, split: Path, base: Path, tmp_path: Path
) -> None:
    for file in base.glob("tokenizer*"):
        file.unlink()
    done = run(*arguments(split, base, tmp_path / "m"))
    assert (done.code, "copy tokenizer.json" in done.err) == (78, True), done.err


@pytest.mark.parametrize("ends", [True, False])
def test_a_tokenizer_without_a_pad_token_resizes_no_embedding(
    ends: bool, run: Run, split: Path, base: Path, tmp_path: Path
) -> None:
    settings = json.loads((base / "tokenizer_config.json").read_text())
    assert "pad_token" not in settings
    if not ends:
        settings.pop("eos_token")
        (base / "tokenizer_config.json").write_text(json.dumps(settings))
    # The whole text's loss goes through the padded path, where padding matters.
    done = run(*arguments(split, base, tmp_path / "m", "--loss", "full-text"))
    assert done.code == 0, done.err
    names = load_file(tmp_path / "m" / "adapter_model.safetensors")
    assert all("lora_" in name for name in names)
    pieces = [json.loads((f / "tokenizer.json").read_text()) for f in (base, tmp_path / "m")]
    assert pieces[0]["model"]["vocab"] == pieces[1]["model"]["vocab"]
    assert pieces[0]["added_tokens"] == pieces[1]["added_tokens"]


def test_headlines_longer_than_the_limit_are_counted(
    run: Run, split: Path, base: Path, tiny_model: Path, tmp_path: Path
) -> None:
    long = pl.Series("headline", ["oil rises " * 500, "oil falls " * 500])
    edit(split / "train.parquet", lambda d: d[:2].with_columns(long).vstack(d[2:]))
    done = run(*arguments(split, base, tmp_path / "m", "--num-train-epochs", 1)[1:])
    assert done.code == 0, done.err
    assert "2 headlines are longer than 512 tokens with their prompt and were cut" in done.err
    done = run("train", "--data", split, "--base", tiny_model, "-o", "e", "--max-length", 60,
               "--num-train-epochs", 1, "--threads", 1)  # fmt: skip
    assert done.code == 0, done.err
    assert "2 headlines are longer than 60 tokens and were cut" in done.err


def test_missing_libraries_are_named_with_what_works_without(
    run: Run, split: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = arguments(split, base, tmp_path / "m")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    done = run(*command)
    assert (done.code, "or train on the base as it is" in done.err) == (69, True), done.err
    monkeypatch.setitem(sys.modules, "trl", None)
    done = run(*command)
    assert (done.code, "--preset mini and score need neither" in done.err) == (69, True), done.err
    assert not (tmp_path / "m").exists()


def test_a_large_base_without_a_gpu_is_warned_of(
    run: Run, split: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from finsent_batch.training import causal_trainer as causal_fitting

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = arguments(split, base, tmp_path / "m", "--num-train-epochs", 1)[1:]
    assert "no CUDA GPU here" not in run(*command).err
    monkeypatch.setattr(causal_fitting, "_SLOW_ON_A_CPU", 0)
    done = run(*command, "--overwrite")
    assert (done.code, "no CUDA GPU here" in done.err) == (0, True), done.err
