"""`models convert`: a model that has only pickled weights, written anew as safetensors.

The pickles are read in a process of their own, by torch's `weights_only` unpickler and
without a network; see `unpickle`. Nothing else of the folder is run or rewritten.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import BadDataError, CannotCreateError, UsageError
from ..io.atomic import replacing
from .locate import find_pickled
from .manifest import MODEL_FILES
from .reading import read_json

_COPIED = ("*.json", "*.txt", "*.model")
_INDEX = "pytorch_model.bin.index.json"


def convert(identifier: str, output: Path, *, overwrite: bool = False) -> list[Path]:
    """Write a directory's or a Hub model's pickled weights to `output`, its other files beside.

    Returns the weight files written.

    Raises:
        BadDataError: a file holds something else than tensors.
        CannotCreateError: the output holds a model, or cannot be written.
        MissingInputError: no such model.
        UsageError: it has safetensors already.
    """
    folder, pickles = find_pickled(identifier)
    if not pickles:
        raise UsageError(f"{identifier} has safetensors already: name it with --model as it is")
    if any((output / name).exists() for name in MODEL_FILES) and not overwrite:
        raise CannotCreateError(f"{output} holds a model: use --overwrite or another -o")
    if output.resolve() == folder.resolve():
        raise CannotCreateError(f"{output} is what is converted: use another -o")
    try:
        output.mkdir(parents=True, exist_ok=True)
        written = [_convert_file(file, output / _renamed(file.name)) for file in pickles]
        for pattern in _COPIED:
            for file in folder.glob(pattern):
                if file.name != _INDEX:
                    shutil.copyfile(file, output / file.name)
        if len(pickles) > 1:
            _write_index(folder / _INDEX, output)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise CannotCreateError(f"cannot write {output} ({error.strerror})") from None
    return written


def _renamed(name: str) -> str:
    """Return the name that transformers and peft look for: `pytorch_model…` becomes `model…`."""
    return name.removeprefix("pytorch_").removesuffix(".bin") + ".safetensors"


def _convert_file(source: Path, target: Path) -> Path:
    with replacing(target) as temporary:
        command = [
            sys.executable,
            "-P",
            "-m",
            f"{__package__}.unpickle",
            str(source),
            str(temporary),
        ]
        quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        done = subprocess.run(
            command, env=os.environ | quiet, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
            raise BadDataError(
                f"{source} cannot be converted ({said}): it holds more than tensors, or is "
                "damaged; get it again, or a copy in safetensors"
            )
    return target


def _write_index(source: Path, output: Path) -> None:
    index = {"metadata": {}} | read_json(source)  # transformers fails without it
    index["weight_map"] = {
        name: _renamed(str(file)) for name, file in (index.get("weight_map") or {}).items()
    }
    with replacing(output / "model.safetensors.index.json") as temporary:
        temporary.write_text(json.dumps(index, indent=2) + "\n", "utf-8")
