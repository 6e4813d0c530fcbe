# One-line tasks; each works in a fresh clone after `make setup`.
PYTHON ?= .venv/bin/python
BIN = $(dir $(PYTHON))

setup:      ## a virtual environment with everything for development
	python3 -m venv .venv && $(PYTHON) -m pip install -q -e '.[dev]'
test:       ## the short suite
	$(PYTHON) -m pytest -q -n 2
torture:    ## what the short suite leaves out: fifty kills, damaged files, random films, all weights; half an hour
	$(PYTHON) -m pytest -q -m slow
lint:       ## style, formatting, the order of layers, the container's recipe and the workflow
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
	NO_COLOR=1 $(BIN)lint-imports --no-cache
	$(BIN)hadolint Dockerfile
	$(BIN)check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)zizmor --offline --quiet .github
format:     ## make `lint` happy where a machine can
	$(PYTHON) -m ruff check --fix . && $(PYTHON) -m ruff format .
types:      ## static types and import cycles
	$(PYTHON) -m pyright
docs:       ## the pages as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)mkdocs build --strict --quiet
example:    ## upscale the example clip
	examples/upscale.sh
help:       ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/: *## */\t/'

.PHONY: setup test torture lint format types docs example help
