# Two commands do everything:  make demo   and   make test
# PYTHON=/path/to/python3.12 picks another interpreter (3.10 to 3.13).

SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV_VERSION := 0.13.8
DOCS := .venv-docs

PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)

# Without bytecode every process would compile torch and mmdet anew: seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test docs lint format clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: $(READY)  ## create .venv with everything pinned (done once)

$(READY): requirements.txt requirements/overrides.txt setup.py
	@test -n "$(PYTHON)" || { echo "mmattn needs Python 3.10 to 3.13: none found; say make PYTHON=/path/to/python"; exit 3; }
	@echo "==> setting up $(VENV) with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "could not create $(VENV): install your system's python3-venv package"; exit 3; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@MMCV_WITH_OPS=0 $(BIN)/uv pip install --python $(BIN)/python \
		--override requirements/overrides.txt -r requirements.txt
	@$(BIN)/uv pip install --python $(BIN)/python --no-deps --editable .
	@$(BIN)/python -m mmattn.ops build || echo "==> operators were not compiled: plain torch answers in their place"
	@touch $(READY)

demo: $(READY)  ## train, test, export and visualise a segmentor and a detector on generated images -> work_dirs/demo/report.html
	@$(BIN)/python tools/demo.py $(ARGS)

test: $(READY)  ## run the tests (ARGS="-k name" narrows)
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

docs: $(DOCS)/.ready  ## write the site -> site/index.html (DOCS=FOLDER is its environment; no torch in it)
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

$(DOCS)/.ready: requirements/docs.txt
	@test -n "$(PYTHON)" || { echo "the site needs Python 3.10 to 3.13: say make docs PYTHON=/path/to/python"; exit 3; }
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	@touch $@

CXX_FILES = $(shell git ls-files 'custom_ops/*.h' 'custom_ops/*.cpp' 'custom_ops/*.cu' 'custom_ops/*.cuh')

lint: $(READY)  ## ruff, pyright, clang-format, typos; nothing is changed
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright --pythonpath $(BIN)/python
	@$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	@$(BIN)/typos

format: $(READY)  ## ruff and clang-format: rewrite
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/clang-format -i $(CXX_FILES)

clean:  ## remove .venv and what can be made again; your runs in work_dirs stay
	rm -rf $(VENV) $(DOCS) site build dist *.egg-info work_dirs/demo .pytest_cache .ruff_cache
