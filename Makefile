# make demo    set up, compile a MobileDet for this machine, detect shapes in a generated picture
# make test    set up, then ruff, mypy and every test
# make quick   the same without the long proofs
# make clean   remove what the other commands made
#
# Needs python3 (3.11 or later, with its venv module) and make. Everything else comes from the package index.

# Test files go to the workers in the order of the tree, where the folders with the longest ones come first.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= logical
MODEL ?= mobiledet-cpu-shapes
TARGET ?= cpu

BIN := $(VENV)/bin
SOURCES := $(shell find mdcompiler passes backends -name '*.py' -o -name '*.yaml' -o -name '*.[ch]')

.PHONY: demo test quick lint clean
.DELETE_ON_ERROR:

demo: demo/$(MODEL)-$(TARGET)/manifest.json demo/scene.png
	$(BIN)/mdc detect demo/$(MODEL)-$(TARGET) demo/scene.png --draw demo/boxes --min-score 0.5
	@echo "demo/boxes/scene.png has the boxes."

demo/$(MODEL)-$(TARGET)/manifest.json: $(VENV)/.installed $(SOURCES)
	@mkdir -p demo
	rm -rf demo/$(MODEL)-$(TARGET)
	$(BIN)/mdc compile examples/shapes/$(MODEL).yaml --weights examples/shapes/$(MODEL).safetensors \
		--target $(TARGET) -o demo/$(MODEL)-$(TARGET)

demo/scene.png: examples/shapes/scenes.py $(VENV)/.installed
	@mkdir -p demo
	$(BIN)/python -m examples.shapes.draw $@

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

quick: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow"

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
