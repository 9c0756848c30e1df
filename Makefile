# Everything sets itself up: on a fresh machine with git, make and Python 3.11 or newer, `make demo` and `make test` are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: demo test test-slow test-faults check docs bench-speed clean

demo: $(READY)
	$(BIN)/embstore demo --out demo

test: $(READY)
	$(BIN)/python -m pytest

# every command of the docs, the demo, the scripts, and exhaustive variants; minutes
test-slow: $(READY)
	$(BIN)/python -m pytest -m 'slow and not faults'

# kills and full disks by the dozen; minutes
test-faults: $(READY)
	$(BIN)/python -m pytest -m faults

# style, types and the layers of packages
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# the pages of docs/ that are made from the code: docs/tables.md
docs: $(READY)
	$(BIN)/python docs/make_tables.py

# timing against peers and physical limits, as ratios; minutes
bench-speed: $(READY)
	$(BIN)/python benchmarks/speed/start.py
	$(BIN)/python benchmarks/speed/search.py
	$(BIN)/python benchmarks/speed/embed.py
	$(BIN)/python benchmarks/speed/heads.py
	$(BIN)/python benchmarks/speed/backbones.py
	$(BIN)/python benchmarks/speed/phantom.py
	$(BIN)/python benchmarks/speed/memory.py
	$(BIN)/python benchmarks/speed/append.py
	$(BIN)/python benchmarks/speed/import_memory.py

# one plain install; again only when pyproject.toml changes
$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "embstore needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) demo
