# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test test-all check docs bench faults clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/done: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Lamina needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --compile-bytecode --editable . --group dev --group docs
	touch .venv/done

demo: .venv/done ## train on handwritten digits, from start to report
	$(BIN)/lamina demo

test: .venv/done ## the fast tests
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile

test-all: .venv/done ## all tests
	$(BIN)/pytest -n 2 --dist loadfile

check: .venv/done ## format, lint, types; layers and budgets are tests
	$(BIN)/ruff format --check src tests benchmarks docs
	$(BIN)/ruff check src tests benchmarks docs
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py tests/test_budgets.py

docs: .venv/done ## the documentation, into docs/_build
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build

.venv-bench/done: .venv/done benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(BIN)/uv pip install --quiet --python .venv-bench/bin/python --constraint constraints.txt --compile-bytecode --editable . -r benchmarks/requirements.txt
	touch .venv-bench/done

bench: .venv-bench/done ## Lamina beside its peers, into docs/benchmarks.md; ONLY=resnet DATA=folder ROUNDS=3 IMAGES=512 ...
	.venv-bench/bin/python -m benchmarks.run $(foreach option,ONLY ROUNDS IMAGES EPOCHS LIMIT MINUTES DATA FASHION CIFAR10 ADULT,$(if $($(option)),--$(shell echo $(option) | tr A-Z a-z) '$($(option))'))

faults: .venv/done ## what the audit finds of planted faults, into docs/faults.md; FASHION=folder-of-idx-files
	$(BIN)/python -m benchmarks.faults $(if $(FASHION),--fashion '$(FASHION)')

clean: ## remove what the targets made
	rm -rf .venv .venv-bench docs/_build .mypy_cache .ruff_cache .pytest_cache
