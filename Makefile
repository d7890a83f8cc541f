# Two targets do all the set-up: `make demo` and `make test`. Each makes its own .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
TEACHER ?= all-mpnet-base-v2
DATA ?= $(or $(FINSENT_DATA),../shared/data)
# Modules are compiled when they are first imported, and that is kept, even where the environment
# says not to: else each process of the tests would compile torch and all the others anew.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test fuzz coverage lint format install mini mini-open audit docs docs-cli docs-sessions docs-serve screenshots clean

install: $(VENV)/.installed

# torch first and alone: a plain dependency would bring the newest build and its CUDA libraries.
# Compiling all modules would take half of an installation.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Installing into $(VENV): one to three minutes, quietly."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt $(TORCH)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh demo/run.sh

# Four at a time on two cores: nearly half of the time processes are waited for.
TESTS = pytest --numprocesses 4 --dist worksteal
# While types are checked on one core, another compiles what the four are about to import.
test: install
	@$(BIN)/python -m pytest --collect-only -qq > /dev/null 2>&1 & $(LINT) && wait
	OMP_NUM_THREADS=1 $(BIN)/python -m $(TESTS)

# The property tests with other cases each time, and so many times as many.
FUZZ ?= 20
fuzz: install
	FUZZ=$(FUZZ) OMP_NUM_THREADS=1 $(BIN)/python -m $(TESTS) -m hypothesis

# slipcover, because the tracer of coverage.py is slow on Python 3.11; a sixth slower than `make test`.
coverage: install
	OMP_NUM_THREADS=1 $(BIN)/python -m slipcover --source finsent_batch,jobs --json --out .coverage.json -m $(TESTS)
	@$(BIN)/python -c 'import json; print("coverage, without the processes that tests start:", \
		"%.1f %% of lines" % json.load(open(".coverage.json"))["summary"]["percent_covered"])'

LINT = $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
lint: install
	$(LINT)

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The embedded model, from the data to its adapter; see docs/models.md.
mini: install
	PATH="$(CURDIR)/$(BIN):$$PATH" DATA="$(DATA)" TEACHER="$(TEACHER)" \
		sh finsent_batch/models/mini/make.sh

# The one that may be used commercially.
mini-open: install
	PATH="$(CURDIR)/$(BIN):$$PATH" DATA="$(DATA)" TEACHER="$(TEACHER)" \
		sh finsent_batch/models/mini_open/make.sh

# The documentation site, in site/; fails on a broken link.
docs: docs-cli
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in site/: open site/index.html"

docs-cli: install
	$(BIN)/python docs/make_cli.py

# What commands show on terminals of 80 and 120 columns, for docs/cli.md.
docs-sessions: install
	$(BIN)/python docs/record_sessions.py
	$(BIN)/python docs/make_cli.py

docs-serve: install
	$(BIN)/mkdocs serve

# The pictures of docs/, of the demo's headlines; needs a Chromium.
screenshots: install
	$(BIN)/python docs/make_screenshots.py

# Known vulnerabilities of the tested versions, asked of PyPI: needs the network.
audit: .venv-audit/bin/pip-audit
	{ grep -v '^#' constraints.txt; echo $(TORCH); } > .venv-audit/versions.txt
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement .venv-audit/versions.txt

.venv-audit/bin/pip-audit:
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --no-compile --disable-pip-version-check pip-audit

clean:
	rm -rf $(VENV) .venv-audit site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis runs
