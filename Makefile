# make demo    set up, compile a MobileDet for this machine, detect objects in a generated picture
# make test    set up, then ruff, mypy and every test
# make quick   the same without the long proofs
# make clean   remove what the other commands made
#
# Needs python3 (3.11 or later, with its venv module) and make. Everything else comes from the package index.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= logical
MODEL ?= mobiledet-cpu
TARGET ?= cpu

BIN := $(VENV)/bin
SOURCES := $(shell find mdcompiler passes backends -name '*.py' -o -name '*.yaml' -o -name '*.[ch]')

.PHONY: demo test quick lint clean
.DELETE_ON_ERROR:

demo: demo/$(MODEL)-$(TARGET)/manifest.json demo/scene.png
	$(BIN)/mdc detect demo/$(MODEL)-$(TARGET) demo/scene.png --draw demo/boxes --min-score 0.95
	@echo "demo/boxes/scene.png has the boxes. The weights are seeded, not trained: the boxes show that"
	@echo "everything runs, from the spec to the binary to the picture, and not what is in the picture."

demo/$(MODEL)-$(TARGET)/manifest.json: $(VENV)/.installed $(SOURCES)
	@mkdir -p demo
	rm -rf demo/$(MODEL)-$(TARGET)
	$(BIN)/mdc compile $(MODEL) --target $(TARGET) -o demo/$(MODEL)-$(TARGET)

demo/scene.png: examples/draw_scene.py $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/python examples/draw_scene.py $@

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

quick: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version + "; try make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt $(VENV)/.python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,lint]'
	touch $@

clean:
	rm -rf $(VENV) demo build dist mdcompiler.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
