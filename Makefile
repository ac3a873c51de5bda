# make demo: the whole pipeline on a laptop, from nothing to results/demo/report.html
# make test: the tests, a miniature of the pipeline among them
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all

.PHONY: demo test install lint clean

demo: install
	$(BIN)/snakemake --cores $(CORES) --config study=demo
	@$(BIN)/lilas show results/demo

test: install
	$(BIN)/python -m pytest

install: $(VENV)/.installed

# PyPI's torch for Linux is the CUDA build; the constraint only fixes its version.
$(VENV)/.installed: pyproject.toml envs/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LILAS needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint envs/constraints.txt --editable '.[test]'
	touch $@

lint: install
	$(BIN)/python -m pip install --quiet --constraint envs/constraints.txt --editable '.[dev]'
	$(BIN)/ruff check
	$(BIN)/ruff format --check

clean:
	rm -rf $(VENV)
