# make demo: set up and run the main job.  make test: set up and run the tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# strict: a warning, a link or an anchor that leads nowhere, is an error
DOCS   := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: demo test lint bench soak proto schema docs dist-check compose-check clean

demo: $(VENV)/.installed
	$(BIN)/splitfed scenario medmnist_split

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python protos/generate.py --check
	$(BIN)/python -m splitfed.records.schema --check
	.ci/lint-js
	$(DOCS)

docs: $(VENV)/.installed-dev
	$(DOCS)

dist-check: $(VENV)/.installed-dev
	$(BIN)/python -m tests.packaging.check_built

# needs a Docker engine, or root, dockerd and debootstrap to start one; else root and iproute2, for namespaces
compose-check: $(VENV)/.installed-dev
	$(BIN)/python -m tests.deploy.check_compose

bench: $(VENV)/.installed
	$(BIN)/splitfed bench wire
	$(BIN)/splitfed bench scl
	$(BIN)/splitfed bench scenario

soak: $(VENV)/.installed
	$(BIN)/splitfed bench faults --faults 1000
	$(BIN)/splitfed bench fuzz --inputs 2000000

proto: $(VENV)/.installed-dev
	$(BIN)/python protos/generate.py

schema: $(VENV)/.installed-dev
	$(BIN)/python -m splitfed.records.schema

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "splitfed needs Python 3.11 or newer; point to one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist site *.egg-info
