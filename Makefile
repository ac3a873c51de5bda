# make demo: the whole pipeline on a laptop, from nothing to results/demo/report.html
# make test: the tests on all cores, a miniature of the pipeline among them
# make lint: what is wrong with the code without running it; make mutations: what tests would miss
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
# Optional dependencies: simulate, the simulators of Euler and of gravity and cooling; slurm, jobs
# through Slurm; tensorboard and wandb, trackers of trainings; dask, statistics and scores by a
# Dask cluster; netcdf, data from NetCDF-4.
EXTRAS ?=
comma := ,

.PHONY: demo test test-cuda test-datasets test-simulate test-paper test-slurm test-pages test-mutations mutations install lint clean

demo: install
	$(BIN)/snakemake --cores $(CORES) --config study=demo
	@$(BIN)/lilas show results/demo

# Tests start in the order that tests/conftest.py puts them in.
test: install
	$(BIN)/python -m pytest -n auto --no-loadscope-reorder

# What every other test run leaves out: the first CUDA device, or the one that the variable names.
test-cuda: export CUDA_VISIBLE_DEVICES ?= 0
test-cuda: install
	$(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available() and "no CUDA device is here")'
	$(BIN)/python -m pytest -n 4 tests/test_cuda.py

# Every dataset of The Well by a tiny twin, into the table of docs/data.md: half an hour.
test-datasets: install
	$(BIN)/python tests/datasets.py

# Twenty mutated studies that are planned, run to their report: a quarter of an hour.
test-mutations: install
	$(BIN)/python tests/run_accepted_mutations.py

mutations: install
	$(BIN)/python tests/mutations.py

# What is skipped where the optional simulators are not installed.
test-simulate:
	$(MAKE) install EXTRAS=simulate
	$(BIN)/python -m pytest -n auto tests/test_simulated.py tests/test_euler.py \
		tests/test_gravity_cooling.py

# The paper's three systems in one study, as small as they can be, from simulations to the report;
# and the ablation of an autoencoder's training.
test-paper:
	$(MAKE) install EXTRAS=simulate
	$(BIN)/python -m pytest tests/test_paper.py tests/test_ablation.py

# Jobs through a Slurm of this machine alone, which root installs, starts and ends.
test-slurm: export LILAS_TEST_SLURM = 1
test-slurm:
	$(MAKE) install EXTRAS=slurm
	$(BIN)/python -m pytest -rs tests/test_slurm.py

# Pages of docs, followed literally: ten minutes.
test-pages: install
	$(BIN)/python tests/pages.py own_data.md

# Each set of extras has a stamp of its own; what is installed stays.
STAMP := $(VENV)/.installed$(addprefix -,$(EXTRAS))
install: $(STAMP)

# PyPI's torch for Linux is the CUDA build; the constraint only fixes its version.
$(STAMP): pyproject.toml envs/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "LILAS needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint envs/constraints.txt --editable '.[test$(addprefix $(comma),$(EXTRAS))]'
	touch $@

lint: install
	$(BIN)/python -m pip install --quiet --constraint envs/constraints.txt --editable '.[dev]'
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(CURDIR)/$(BIN):$$PATH" python workflow/lint.py

clean:
	rm -rf $(VENV)
