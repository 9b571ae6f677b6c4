# The project's commands. `make help` lists them; `tools/setup` does the setting up.
# PYTHON=/path/to/python   the interpreter for a new .venv (default: the newest found, 3.12 or later)
# GEOLOOM_HUB_PORT=8000    variables of `make hub`; docs/hub.md lists them
# LAB_ARGS="--no-browser"  more arguments for JupyterLab
# TEST_ARGS="-k slope"     more arguments for pytest
# BENCH_DATA=/folder       where the benchmark's scenes are, or are made (5 GB; default: .venv-bench/data)
# BENCH_VENV=/folder       TiTiler's environment (default: .venv-bench)
# SOAK_ARGS="--users 20"   more arguments for the soak; --help lists them
# BENCH_ARGS="--cases a,b" more arguments for the benchmark; --help lists them

BIN := .venv/bin
LAB_ARGS ?=
TEST_ARGS ?=
# One more than a small machine's cores: many tests wait for other processes.
TEST_WORKERS ?= 3
MEMORY_SECONDS ?= 3600
LOAD_SECONDS ?= 120
SOAK_ARGS ?=
BENCH_VENV ?= .venv-bench
BENCH_DATA ?= .venv-bench/data
BENCH_ARGS ?=
CASE ?= b
CACHES ?= warm
RUN_BENCH = BENCH_COMMAND="make $@$(if $(BENCH_ARGS), BENCH_ARGS='$(BENCH_ARGS)')" PYTHONPATH=tests \
	$(BIN)/python -m bench --titiler $(BENCH_VENV)
AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)

export PYTHON BENCH_VENV
# Without kept bytecode each of the hundreds of processes that tests start compiles what it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help lab test lint types format docs chart hooks wheel bench bench-quick profile soak memory load clean clean-venv hub setup-lab setup-hub setup-test setup-bench

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

lab: setup-lab ## Set up and open JupyterLab on the first notebook
	@echo "geoloom: opening JupyterLab on notebooks/01_first_map.ipynb; its address follows, Ctrl-C ends it"
	@PATH="$(CURDIR)/$(BIN):$$PATH"; export PATH; \
	exec $(BIN)/jupyter lab notebooks/01_first_map.ipynb --log-level=WARN $(AS_ROOT) $(LAB_ARGS)

hub: setup-hub ## Set up and start JupyterHub for many people, with its engine; docs/hub.md says what can be set
	@exec $(BIN)/python -m geoloom_hub

test: setup-test ## Set up, then run every check and every test; all are reported, mypy's last
	@failed=0; \
	$(BIN)/ruff check || failed=1; \
	$(BIN)/ruff format --check || failed=1; \
	$(BIN)/mypy >.venv/mypy.log 2>&1 & types=$$!; \
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(TEST_ARGS) || failed=1; \
	wait $$types || failed=1; \
	cat .venv/mypy.log; \
	exit $$failed

lint: setup-test ## Check style and formatting with ruff
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup-test ## Check types with mypy
	@$(BIN)/mypy

format: setup-test ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: setup-test ## Write the generated files anew: image.pyi, operations, settings
	@$(BIN)/python -m geoloom.stub > .venv/new && mv .venv/new client_lib/geoloom/image.pyi
	@$(BIN)/python tools/operations.py > .venv/new && mv .venv/new docs/reference.md
	@$(BIN)/python -m geoloom_engine.settings > .venv/new && mv .venv/new docs/settings.md

chart: setup-test ## Write the hub's files and the settings' names into the Helm chart
	@$(BIN)/python tools/chart.py

hooks: setup-test ## Check every commit with pre-commit
	@$(BIN)/pre-commit install

wheel: setup-test ## Build the wheel into dist/
	@rm -rf build
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

bench: setup-bench ## Compare the engine with TiTiler (half an hour, a quiet machine); writes docs/benchmarks.md
	@$(RUN_BENCH) --data $(BENCH_DATA) --out docs/benchmarks.md $(BENCH_ARGS)

bench-quick: setup-bench ## The same in some minutes, with few tiles of small scenes; writes no page
	@$(RUN_BENCH) --data $(BENCH_VENV)/small --size 2745 --tiles 30 --repeats 12 --rounds 1 $(BENCH_ARGS)

profile: setup-bench ## Show where the engine's time goes in one case of the benchmark: CASE=b CACHES=warm
	@PYTHONPATH=tests $(BIN)/python -m bench.profile_case $(CASE) --data $(BENCH_DATA) --caches $(CACHES)

soak: setup-test ## Have 200 simulated users pan while process after process is killed; writes docs/reliability.md
	@SOAK_COMMAND="make $@$(if $(SOAK_ARGS), SOAK_ARGS='$(SOAK_ARGS)')" PYTHONPATH=tests \
		$(BIN)/python -m soak --out docs/reliability.md $(SOAK_ARGS)

memory: setup-test ## Use an engine with little memory for an hour (MEMORY_SECONDS) and see what it takes
	@MEMORY_SECONDS=$(MEMORY_SECONDS) $(BIN)/python -m pytest -q tests/engine/test_memory_soak.py

load: setup-test ## Flood an engine with requests for two minutes (LOAD_SECONDS) and see that all are served fairly
	@LOAD_SECONDS=$(LOAD_SECONDS) $(BIN)/python -m pytest -q tests/engine/test_load.py

clean: ## Remove caches and build results; keep .venv
	@rm -rf build dist client_lib/*.egg-info *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/artefacts
	@find client_lib tile_engine tests tools notebooks hub -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

clean-venv: ## Remove .venv, and the benchmark's with its scenes
	@rm -rf .venv .venv-bench

setup-lab:
	@tools/setup lab

setup-hub:
	@tools/setup hub

setup-test:
	@tools/setup test

setup-bench:
	@tools/setup bench
