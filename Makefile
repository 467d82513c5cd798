# Everything runs in .venv, installed from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# raced with, but pinned to old versions of what we use: without what they depend on
PEERS := eai-sparsify==1.3.3 natsort==8.4.0 schedulefree==1.4.1 dictionary-learning==0.1.0

.PHONY: run test test-faults fuzz test-tl4 lint study notebooks course docs bench bench-gpu bench-pages bench-load help clean
.DEFAULT_GOAL := help

run: .venv/.run ## install, fetch the default model, start the dashboard, open a browser
	-@$(BIN)/workbench models pull smollm2-135m
	@$(BIN)/workbench dashboard

test: .venv/.dev ## run the tests; says what was left out and why
	$(BIN)/python -m pytest

test-faults: .venv/.dev ## kill, starve and damage long jobs, 100 rounds, and report; `make test` does 5
	$(BIN)/python -m pytest tests/faults --fault-rounds=100

fuzz: .venv/.dev ## a million hostile inputs over all readers, and report; `make test` does 1,400
	$(BIN)/python -m tests.fuzz

test-tl4: .venv-tl4/.done ## the tests beside TransformerLens 4, for which there is no SAELens yet
	.venv-tl4/bin/python -m pytest --ignore tests/faults --ignore tests/notebooks \
		$(addprefix --ignore tests/test_,fuzz.py packaging.py) \
		$(addprefix --ignore tests/test_sae_,curves.py foreign.py saved.py training.py)

lint: .venv/.dev ## ruff, pyright, the import contract; checks, never fixes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-cache --no-logo

study: .venv/.study ## the course in JupyterLab, where the dashboard's pages link to
	-@$(BIN)/workbench models pull smollm2-135m
	$(BIN)/jupyter lab --notebook-dir notebooks --port 8888

notebooks: .venv/.dev ## execute the study course, with a table of time, memory and result
	-@$(BIN)/workbench models pull smollm2-135m
	$(BIN)/python -m notebooks

course: .venv/.dev ## the course to read: one self-contained HTML file each, in build/course
	$(BIN)/python -m notebooks --course build/course

docs: .venv/.docs ## the documentation as a site in build/docs, with the API reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/.bench ## speed as ratios against named peers, one table, beside the last and saved
	$(BIN)/python -m benchmarks --save

bench-gpu: .venv/.bench ## how near long jobs come to a GPU's own limits
	$(BIN)/python -m benchmarks.gpu

bench-pages: .venv/.dev ## page targets, measured in Chromium
	$(BIN)/python -m benchmarks.pages

bench-load: .venv/.dev ## twenty people at one dashboard for three minutes
	$(BIN)/python -m benchmarks.load

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

clean: ## remove the virtual environment
	rm -rf .venv .venv-tl4

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ .venv/.run

.venv/.study: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[study]'
	touch $@ .venv/.run

.venv/.docs: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@ .venv/.run

.venv-tl4/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-tl4
	grep -v -E '^(sae-lens|transformer-lens)==' constraints.txt > .venv-tl4/constraints.txt
	.venv-tl4/bin/pip install --quiet --disable-pip-version-check --no-deps \
		-r .venv-tl4/constraints.txt 'transformer-lens==4.3.0' -e .
	touch $@

.venv/.bench: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps $(PEERS)
	touch $@ .venv/.dev .venv/.run
