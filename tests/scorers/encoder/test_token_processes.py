"""Texts tokenized in several processes: as in one, and without a trace of them behind."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from finsent_batch.config import ModelConfig
from finsent_batch.models.directory import open_configured
from finsent_batch.scorers.encoder import token_processes
from finsent_batch.scorers.encoder.token_processes import TokenProcesses
from finsent_batch.scorers.encoder.tokens import TextTokens

LIMITS = resource.getrlimit(resource.RLIMIT_NOFILE)
TEXTS = [f"Oil rises {i} % « Öl » " + "up " * (i % 300) for i in range(5_000)]


@pytest.fixture(scope="module")
def tokens():
    spec = open_configured(ModelConfig(model="mini"))
    found = TextTokens(spec)
    found.cut_at(128)
    return found


@pytest.fixture
def processes(tokens):
    started = TokenProcesses(tokens, 2)
    yield started
    started.close()


def wait_for(processes):
    deadline = time.monotonic() + 120
    while not processes._ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_they_give_the_ids_of_one(tokens, processes):
    own = tokens.encode(TEXTS)
    assert own.truncated.any()
    assert not own.truncated.all()
    for start in (True, False, False):  # the first time this process does it, while they start
        found = processes.encode(TEXTS)
        wait_for(processes) if start else None
        for name in ("ids", "sizes", "truncated"):
            assert np.array_equal(getattr(found, name), getattr(own, name)), name
    assert len(processes._processes) == 2


def test_they_start_while_the_tokenizer_is_loaded(tokens):
    processes = TokenProcesses(count=2)
    processes.start(10)
    assert not processes._processes  # for so few
    processes.start(len(TEXTS))
    assert len(processes._processes) == 2
    processes.use(tokens)
    wait_for(processes)
    tokenized_here = SimpleNamespace(encode=None, backend_file=None)
    processes._tokens = tokenized_here
    assert np.array_equal(processes.encode(TEXTS).ids, tokens.encode(TEXTS).ids)
    processes.use(tokenized_here)  # one that is not the library's own
    assert not processes._processes


def test_one_that_ends_is_done_without(tokens, processes):
    processes.encode(TEXTS)
    wait_for(processes)
    processes._processes[1].kill()
    processes._processes[1].wait()
    assert np.array_equal(processes.encode(TEXTS).ids, tokens.encode(TEXTS).ids)
    assert not processes._processes
    assert np.array_equal(processes.encode(TEXTS).ids, tokens.encode(TEXTS).ids)


def test_no_answer_to_other_texts_is_left_by_an_interruption(tokens, processes, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    processes.encode(TEXTS)
    wait_for(processes)
    with monkeypatch.context() as patch:
        patch.setattr(token_processes, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            processes.encode(TEXTS)
    others = TEXTS[::-1]
    for start in (True, False):
        found = processes.encode(others)
        wait_for(processes) if start else None
        assert np.array_equal(found.ids, tokens.encode(others).ids)


def test_a_process_with_many_files_open_can_wait_for_them(tokens, processes):
    own = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (2_048, LIMITS[1])) if LIMITS[0] < 2_048 else None
    try:
        while own[-1] < 1_100:
            own.append(os.dup(own[0]))
        processes.encode(TEXTS)
        wait_for(processes)
    finally:
        for descriptor in own:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, LIMITS)


def test_they_end_with_a_process_that_is_killed():
    script = (
        "import os, signal, sys\n"
        "from finsent_batch.config import ModelConfig\n"
        "from finsent_batch.models.directory import open_configured\n"
        "from finsent_batch.scorers.encoder.token_processes import TokenProcesses\n"
        "from finsent_batch.scorers.encoder.tokens import TextTokens\n"
        "processes = TokenProcesses(TextTokens(open_configured(ModelConfig(model='mini'))), 2)\n"
        "for _ in range(2): processes.encode(['oil'] * 5000)\n"
        "print(*(p.pid for p in processes._processes), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    left = {int(pid) for pid in done.stdout.split()}
    assert len(left) == 2
    deadline = time.monotonic() + 60
    while left := {pid for pid in left if alive(pid)}:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # as it ends while it is read
        return False
    return state.rpartition(")")[2].split()[0] != "Z"
