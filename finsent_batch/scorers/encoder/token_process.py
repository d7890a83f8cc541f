"""A process that does nothing but turn texts into ids, for `token_processes.py`.

It reads pickles from standard input and answers on standard output: first the tokenizer's file and
whether it is BERT's to the letter, which it answers with None, then one list of texts after the
other, each answered with a `Tokenized`. It ends when its input does, and so with the process that
started it, however that ends. torch and pyarrow are not loaded here.
"""

import gc
import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tokenizers import Tokenizer

from ..base import Tokenized
from .word_ids import WordIds, encoded_by


def encoder_of(backend: Any, *, plain: bool) -> Callable[[Sequence[str]], Tokenized]:
    """Return what encodes texts by a backend; `plain` says that it is BERT's to the letter."""
    return WordIds(backend).encode if plain else partial(encoded_by, backend)


def main() -> None:
    """Answer until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C asks the process that started this one
    gc.disable()  # lists of words by the thousand, and no cycles
    source, target = sys.stdin.buffer, sys.stdout.buffer
    try:
        file, plain = pickle.load(source)
        encode = encoder_of(Tokenizer.from_str(file), plain=plain)
        answer: Tokenized | None = None  # ready
        while True:
            pickle.dump(answer, target, protocol=5)
            target.flush()
            answer = encode(pickle.load(source))
    except (EOFError, BrokenPipeError):
        return
