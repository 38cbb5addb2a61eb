# Everything from nothing: Python 3.11 or newer, and network access to a package index. See CONTRIBUTING.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
BACKENDS := .venv-backends
EXCHANGE := $(CURDIR)/$(BACKENDS)/exchange
TORCH := .venv-torch
# The build without CUDA, where the package index has it: a few hundred megabytes instead of several thousand.
TORCH_CPU ?= torch==2.13.0+cpu
DEMO_OUT ?= demo-out

.PHONY: help demo test lint kernels check coverage campaigns bench bench-compare docs test-lowest test-torch test-backends clean

help:
	@echo "make demo         render faces, preprocess, train, report: into $(DEMO_OUT)/"
	@echo "make test         lint, types, import contracts and all tests"
	@echo "make coverage     the quick tests, and which lines of fastck they leave out; fails below 95 %"
	@echo "make campaigns    fault injection and fuzzing at length: an hour or more"
	@echo "make test-backends  training on TensorFlow, JAX and PyTorch, and their results beside each other"
	@echo "make test-lowest  a smaller round of tests on the lowest supported versions"
	@echo "make test-torch   the way into PyTorch, in an environment of its own"
	@echo "make bench        run the benchmarks and write BENCHMARKS.md"
	@echo "make bench-compare  this checkout against the last tag or main (or COMMIT=...): what became faster or slower"
	@echo "make docs         build the documentation into site/"

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev,docs]"
	touch $@

demo: $(VENV)/.installed
	@if [ "$(DEMO_OUT)" = demo-out ]; then rm -rf demo-out; fi
	$(BIN)/fastck demo $(DEMO_OUT)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Hypothesis' own profile "ci": the same examples each time, so that what passed passes. A plain pytest and the
# campaigns go on looking for others. A file's tests share what they made, so that one process takes all of them; the
# order is that of tests/conftest.py.
check: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --hypothesis-profile=ci

# What Numba's cache on disk holds is not compiled again, and coverage would not see the code that compiles it.
coverage: $(VENV)/.installed
	rm -rf $(VENV)/numba-coverage
	NUMBA_CACHE_DIR=$(CURDIR)/$(VENV)/numba-coverage $(BIN)/python -m pytest tests -m "not slow" \
		--cov --cov-report=term-missing:skip-covered --cov-fail-under=95

# Each of pytest's processes would compile them, and nearly everything waits for them.
kernels: $(VENV)/.installed
	$(BIN)/python -m tests.helpers.compiling

test: $(VENV)/.installed
	$(MAKE) --jobs=2 lint kernels
	$(MAKE) check

campaigns: $(VENV)/.installed
	$(BIN)/python -m tests.campaigns.faults --kills 20 --subjects 4
	$(BIN)/python -m tests.campaigns.fuzz_png --executions 150000
	$(BIN)/python -m tests.campaigns.fuzz_video --executions 10000
	$(BIN)/python -m tests.campaigns.fuzz_tables --executions 20000

bench: $(VENV)/.installed $(TORCH)/.installed
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-json=bench.json -q
	$(BIN)/python -m benchmarks.report bench.json

bench-compare: $(VENV)/.installed
	$(BIN)/python -m benchmarks.compare $(COMMIT)

docs: $(VENV)/.installed
	$(BIN)/mkdocs build --strict

$(LOWEST)/.installed: pyproject.toml requirements-lowest.txt
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade pip
	$(LOWEST)/bin/python -m pip install --quiet --requirement requirements-lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

test-lowest: $(LOWEST)/.installed
	NUMBA_CACHE_DIR=$(LOWEST)/numba $(LOWEST)/bin/python -m pytest -m "not slow" tests/kernels/test_ops.py tests/pipeline/test_preprocess.py tests/store/test_store.py tests/dataset/test_layouts.py tests/test_cli.py

$(TORCH)/.installed: pyproject.toml
	test -x $(TORCH)/bin/python || $(PYTHON) -m venv $(TORCH)
	$(TORCH)/bin/python -m pip install --quiet --upgrade pip
	$(TORCH)/bin/python -m pip install --quiet "$(TORCH_CPU)" || echo "no $(TORCH_CPU) in the index: taking torch"
	$(TORCH)/bin/python -m pip install --quiet --editable ".[torch]" "pytest>=8.0" "pytest-benchmark>=5.0"
	touch $@

test-torch: $(TORCH)/.installed
	$(TORCH)/bin/python -m pytest tests/test_torchdata.py tests/test_import.py "tests/test_docs.py::test_code_blocks_run[docs/how-to/pytorch.md]" \
		-k "not costs_little"

$(BACKENDS)/.installed: pyproject.toml
	test -x $(BACKENDS)/bin/python || $(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python -m pip install --quiet --upgrade pip
	$(BACKENDS)/bin/python -m pip install --quiet "$(TORCH_CPU)" || echo "no $(TORCH_CPU) in the index: taking torch"
	$(BACKENDS)/bin/python -m pip install --quiet --editable ".[train-jax,train-torch]" "pytest>=8.0"
	touch $@

# TensorFlow's results come from the other environment: here nothing may need it.
test-backends: $(VENV)/.installed $(BACKENDS)/.installed
	rm -rf $(EXCHANGE)
	KERAS_BACKEND=tensorflow $(BIN)/python -m tests.backends.steps $(EXCHANGE)/tensorflow
	KERAS_BACKEND=jax FASTCK_EXCHANGE=$(EXCHANGE) $(BACKENDS)/bin/python -m pytest -o addopts=-ra tests/backends
	KERAS_BACKEND=torch FASTCK_EXCHANGE=$(EXCHANGE) $(BACKENDS)/bin/python -m pytest -o addopts=-ra tests/backends

clean:
	rm -rf $(VENV) $(LOWEST) $(BACKENDS) $(TORCH) $(DEMO_OUT) site bench.json
