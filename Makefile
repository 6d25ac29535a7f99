# Every target creates the environment in .venv on first use; later uses start at once.
# `make PYTHON=python3.13 test` chooses another interpreter, `make demo ARGS=--json` passes arguments on.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.installed
ROOT_FLAG := $(if $(filter 0,$(shell id -u)),--allow-root)
DISPLAY_FLAG := $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname)),,--no-browser)

.DEFAULT_GOAL := help
.PHONY: help lab demo bench test deep lint clean

help:
	@echo 'make lab    open JupyterLab on the notebooks (prints the URL where there is no browser)'
	@echo 'make demo   run the main job without a browser: demo.html, figures, tables'
	@echo 'make test   run every test: Python, JavaScript, notebooks, browser, kernel'
	@echo 'make deep   run the tests that have a larger form with their large counts'
	@echo 'make lint   ruff, mypy, vulture, and the size of each folder'
	@echo 'make bench  measure this machine'
	@echo 'make clean  remove what the other targets wrote (but not .venv)'

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 or newer found; set PYTHON=...' >&2; exit 1; }
	@test -x $(BIN)/pip || { echo 'Creating .venv (once, a minute or two) ...'; \
		$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo 'python -m venv failed; on Debian: apt-get install python3-venv' >&2; exit 1; }; }
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

lab: $(STAMP)
	$(BIN)/jupyter lab $(ROOT_FLAG) $(DISPLAY_FLAG) notebooks $(ARGS)

demo bench: $(STAMP)
	$(BIN)/workbench $@ $(ARGS)

# One process: two of them would race to fill a cold compilation cache.
test: $(STAMP)
	@bash tests/system_packages.sh
	TQDM_DISABLE=1 $(BIN)/pytest --nbmake --nbmake-timeout=120 --durations=10 $(ARGS)

deep: $(STAMP)
	WORKBENCH_DEEP=1 $(BIN)/pytest -m deep --timeout=7200 --durations=0 $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vulture
	$(BIN)/python tests/support/size.py

clean:
	rm -rf build dist output demo.html .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -path ./.venv -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) \
		-prune -exec rm -rf {} +
