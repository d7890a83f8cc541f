"""Pickled weights to safetensors, as a program of its own: `python -m … SOURCE TARGET`.

`weights_only` lets torch's unpickler build tensors and plain containers and nothing else.
The process cuts itself off from the network first, where the system allows it, so that
even a hole in that unpickler would find nobody to talk to.
"""

import ctypes
import sys
from pathlib import Path

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


def leave_network() -> bool:
    """Move this process into a network namespace without interfaces; say whether it worked."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.unshare(_NEW_USER | _NEW_NETWORK) == 0)
    except (OSError, AttributeError):
        return False


def convert_file(source: Path, target: Path) -> None:
    """Write one pickled checkpoint's tensors, all of them its own, as safetensors.

    Raises:
        TypeError: the file holds something else than tensors by name.
    """
    import torch
    from safetensors.torch import save_file

    loaded = torch.load(source, map_location="cpu", weights_only=True)
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise TypeError(f"it holds a {type(loaded).__name__}, not tensors by name")
    strange = [name for name, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if strange:
        raise TypeError(f"{strange[0]} in it is no tensor")
    # Tied weights share their memory, which safetensors does not know.
    tensors = {str(name): value.detach().clone().contiguous() for name, value in loaded.items()}
    save_file(tensors, target, metadata={"format": "pt"})


def main() -> None:
    """Convert the file named first into the file named second; errors are one line on stderr."""
    source, target = map(Path, sys.argv[1:3])
    import torch  # noqa: F401 - while the file system is all it needs

    if not leave_network():
        print("warning: this system gives no process a network of its own", file=sys.stderr)
    try:
        convert_file(source, target)
    except Exception as error:  # noqa: BLE001 - the parent names the file and says what to do
        text = str(error).strip().splitlines() or [type(error).__name__]
        print(text[0][:300], file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
