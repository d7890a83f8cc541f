"""The tests under every supported version of Python: `nox`, or `nox -s tests-3.13`.

    pipx run nox

Needs the interpreters (pyenv or `uv python install 3.12 3.13` brings them). Each version gets an
environment of its own, which takes minutes; uv, where it is installed, makes it in seconds.
"""

import nox

TORCH = "torch==2.13.0"  # as in the Makefile

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Install the tested versions and run pytest; arguments after `--` go to pytest."""
    # torch first and alone: a plain dependency would bring the newest build.
    session.install("-c", "constraints.txt", TORCH)
    session.install("-c", "constraints.txt", "-e", ".[dev]")
    workers = ("--numprocesses", "2", "--dist", "worksteal")
    session.run("pytest", *(session.posargs or workers), env={"OMP_NUM_THREADS": "1"})
