"""Turn texts into ids in several processes, ahead of a GPU that small models leave idle otherwise.

`tokenizers` works on all cores, but hands over its results one text at a time under Python's lock,
at some five microseconds each: no more than 200,000 texts a second, with nothing else done. So
each process here has a tokenizer and sends back flat arrays. They are started by a command line,
not by multiprocessing, which would run a user's script again in each of them; and they end when
their input does.
"""

import fcntl
import logging
import os
import pickle
import select
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from threading import Lock

import numpy as np

from ...hardware import available_cores
from ..base import Tokenized
from .tokens import TextTokens

logger = logging.getLogger(__name__)

_COMMAND = "from finsent_batch.scorers.encoder.token_process import main; main()"
_FEWEST_CORES = 4
_FEWEST_TEXTS = 4_096
"""Less is tokenized here, before processes have even started."""
_MOST = 8
"""More would not keep a GPU busier: each has the words to learn anew, and takes a core."""
_ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "OPENBLAS_NUM_THREADS": "1"}
_PIPE = 2**20
"""Bytes, the most that Linux lets anybody ask for."""


class TokenProcesses:
    """Processes that tokenize as a `TextTokens` does, which is given once it is loaded.

    They start with the first large call, or while it loads. This process tokenizes until they are
    ready, and where they cannot be had or one ends.
    """

    def __init__(self, tokens: TextTokens | None = None, count: int | None = None) -> None:
        cores = available_cores()
        self._count = min(cores, _MOST) if count is None else count
        few = count is None and cores < _FEWEST_CORES
        self._usable = bool(sys.executable) and not few
        self._processes: list[subprocess.Popen[bytes]] = []
        self._starting: list[subprocess.Popen[bytes]] = []
        self._lock = Lock()
        weakref.finalize(self, _end, self._processes)
        if tokens is not None:
            self.use(tokens)

    def start(self, texts: int) -> None:
        """Start them ahead of a tokenizer that is being loaded, if so many texts are worth it."""
        if self._usable and texts >= _FEWEST_TEXTS:
            with self._lock, self._or_without():
                self._start()

    def use(self, tokens: TextTokens) -> None:
        """Tokenize as `tokens` does, here and in processes that have started."""
        self._tokens = tokens
        if tokens.backend_file is None:
            self.close()
            self._usable = False
        with self._lock, self._or_without():
            self._give_tokenizer()

    def encode(self, texts: Sequence[str]) -> Tokenized:
        """Return the texts as ids, and which of them were cut."""
        if not self._usable or len(texts) < _FEWEST_TEXTS:
            return self._tokens.encode(texts)
        with self._lock, self._or_without():
            if not self._processes:
                self._start()
                self._give_tokenizer()
            elif self._ready():
                return self._encode(texts)
        return self._tokens.encode(texts)

    @contextmanager
    def _or_without(self) -> Iterator[None]:
        """End the processes where the block fails, and do without where that is their fault."""
        try:
            yield
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            logger.debug("texts are tokenized in this process: %r", error)
            self.close()
            self._usable = False
        except BaseException:  # Ctrl-C among others: an answer may be left, to other texts
            self.close()
            raise

    def _encode(self, texts: Sequence[str]) -> Tokenized:
        bounds = np.linspace(0, len(texts), self._count + 1).astype(int).tolist()
        for process, (a, b) in zip(self._processes, pairwise(bounds), strict=True):
            _send(process, list(texts[a:b]))
        # Each has read all that it was sent before it answers: nobody waits for somebody who waits.
        found = [_answer(process) for process in self._processes]
        return Tokenized(
            ids=np.concatenate([part.ids for part in found]),
            sizes=np.concatenate([part.sizes for part in found]),
            truncated=np.concatenate([part.truncated for part in found]),
        )

    def _start(self) -> None:
        command = [sys.executable, "-P", "-c", _COMMAND]
        for _ in range(self._count):
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=_PIPE,
                env={**os.environ, **_ONE_THREAD},
            )
            self._processes.append(process)
            for pipe in (process.stdin, process.stdout):
                # A part is some hundred KB: whoever writes it need not wait for a reader.
                with suppress(OSError, AttributeError):  # another system, or a user's limit
                    fcntl.fcntl(pipe or -1, fcntl.F_SETPIPE_SZ, _PIPE)

    def _give_tokenizer(self) -> None:
        for process in self._processes:
            _send(process, (self._tokens.backend_file, self._tokens.plain))
        self._starting = list(self._processes)

    def _ready(self) -> bool:
        """Return whether all processes have loaded their tokenizer; each says so once."""
        while self._starting:
            output = self._starting[-1].stdout
            assert output is not None
            waiting = select.poll()  # `select.select` knows no descriptor above 1023
            waiting.register(output, select.POLLIN)
            if not waiting.poll(0):
                return False
            pickle.load(output)
            self._starting.pop()
        return True

    def close(self) -> None:
        """End the processes."""
        _end(self._processes)


def _answer(process: subprocess.Popen[bytes]) -> Tokenized:
    assert process.stdout is not None
    answer: Tokenized = pickle.load(process.stdout)
    return answer


def _send(process: subprocess.Popen[bytes], what: object) -> None:
    assert process.stdin is not None
    pickle.dump(what, process.stdin, protocol=5)
    process.stdin.flush()


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    while processes:
        process = processes.pop()
        process.kill()
        process.communicate()
