# Everything happens in .venv; nothing is installed elsewhere.
#   make quickstart   install, then run the quickstart campaign to its report
#   make test         install what is missing, then run all tests but the long storms
#   make torture      the long storms: kills, outages, Slurm, GPAW, gigabytes, the image's steps
#   make test coverage COVERAGE=1   the tests, and which lines they ran; takes half as long again
#   make docs         the documentation site, in build/site; a dead link fails
#   make lint bench   linters; benchmarks (ratios to the reference implementations)
#
# Linux without a GPU: PyTorch's CPU build is ten times smaller than the default one. Get it with
#   make quickstart TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
# Test files side by side; a test run's own servers are per process. Tests wait for disks, programs
# and servers, so three keep two cores busy.
WORKERS ?= 3
COVERAGE ?=
# These benchmarks measure files that are given to them.
GIVEN_BENCHMARKS := benchmarks/bench_finetuning.py benchmarks/bench_search.py
PYTEST = $(BIN)/$(if $(COVERAGE),coverage run,python) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# One torch thread per process: two beside another busy process are 13 times slower.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: quickstart test torture coverage lint docs bench clean

quickstart: $(VENV)/.installed
	$(BIN)/lycb run workflows/quickstart.yaml

test: $(VENV)/.installed-dev
	$(if $(COVERAGE),$(BIN)/coverage erase)
	$(PYTEST) -m "not torture"

torture: WORKERS = 2
torture: $(VENV)/.installed-dev
	$(PYTEST) -m torture

coverage: $(VENV)/.installed-dev
	$(BIN)/python scripts/drop_torn_coverage.py .
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=95 --skip-covered

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.installed-dev
	for script in $(filter-out $(GIVEN_BENCHMARKS),$(wildcard benchmarks/bench_*.py)); do \
		$(BIN)/python $$script || exit 1; done
	$(BIN)/lycb bench

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install -q -c constraints.txt torch --index-url $(TORCH_INDEX))
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed scripts/install_gpaw.sh
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	scripts/install_gpaw.sh $(BIN)/python || echo "no gpaw: its tests will be NOT RUN"
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage*
