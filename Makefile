# make demo    compile a shipped model and print the table
# make test    ruff, mypy and pytest
# make documented    every command of the documentation, the README's in a fresh environment, and the notebooks
# make site    the documentation as HTML pages, in build/docs/site
# make cluster       searches and training on a cluster of Ray's, of two nodes on this machine
# make olive         the pass of Olive, in an environment with Olive
# make lower-bounds  quick tests with the oldest libraries that pyproject.toml allows
# make dist          the wheel and the archive of sources, with the same bytes for the same commit
# make sbom          what is installed: a bill of materials and a list of licences, in build/
# All create .venv on first use. PYTHON chooses the interpreter, PYTEST_ARGS adds to pytest's arguments.

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=

BIN := $(VENV)/bin
# Bytecode is made by the first import: most of what is installed is never imported.
INSTALL := pip install --quiet --disable-pip-version-check --no-compile
PIP := $(BIN)/python -m $(INSTALL) --constraint constraints.txt
PACKAGING := pyproject.toml setup.py constraints.txt
DEMO := models/digits_inception_masked.onnx
RAY := build/ray
OLIVE := build/olive
LIBRARIES := python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
SEEN := python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))'

# Tests start hundreds of processes, each of which would compile the sources anew where bytecode is not kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint types unit documented readme pages notebooks site cluster olive lower-bounds dist sbom clean

demo: $(VENV)/.installed
	mkdir -p build
	$(BIN)/python -m upscale_onnx $(DEMO) build/digits_inception.onnx

# mypy has one thread: beside the tests, it leaves no core idle.
test: lint
	$(MAKE) --jobs=2 types unit

lint: $(VENV)/.installed_tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy is shown the tree as an install lays it out, passes/ inside upscale_onnx/.
types: $(VENV)/.installed_tests
	rm -rf build/types
	$(PIP) --no-deps --no-build-isolation --target build/types .
	cd build/types && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml \
		--cache-dir $(CURDIR)/.mypy_cache --package upscale_onnx

NOTEBOOKS := tests/documented/test_notebooks.py
# Two processes, each of which keeps to one core: numpy and torch would start threads for all cores in both.
PYTEST := -m pytest -W error -n 2 --dist worksteal
ONE_CORE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

unit: $(VENV)/.installed_tests
	$(ONE_CORE) $(BIN)/python $(PYTEST) --deselect $(NOTEBOOKS)::test_a_notebook_runs_and_shows_tables $(PYTEST_ARGS)

documented: readme pages notebooks

readme: $(VENV)/.installed
	$(ONE_CORE) $(BIN)/python -m tests.documented.run --only readme

# onnxruntime runs in the process of each command, which is quicker; the README's commands have it in another, as users
# do. PART=1/2 runs the first half of the pages.
PART ?= 1/1
pages: $(VENV)/.installed_tests
	$(ONE_CORE) UPSCALE_IN_PROCESS=1 $(BIN)/python -m tests.documented.run --only pages --part $(PART)

notebooks: $(VENV)/.installed_tests
	$(ONE_CORE) $(BIN)/python -m pytest -W error -q $(NOTEBOOKS)

site: $(VENV)/.installed_tests
	$(BIN)/python docs/programs/site.py

cluster: $(RAY)/.installed
	$(ONE_CORE) $(RAY)/bin/python -m pytest -W error -q tests/searching/test_cluster.py tests/reinforce/test_rllib.py

olive: $(OLIVE)/.installed
	$(ONE_CORE) $(OLIVE)/bin/python -m pytest -q tests/integrations

# Not the whole suite: the folders where the libraries meet us, in a minute. The package is not installed at all, and
# onnxruntime is the build for CPUs, a tenth of the size. Bytecode of old libraries is made here: in a test, what the
# compiler warns of would be an error.
LOWEST := build/lowest
lower-bounds: $(VENV)/.installed
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(BIN)/python -m tests.lower_bounds > $(LOWEST)/requirements.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
		-r $(LOWEST)/requirements.txt hypothesis pillow pytest pytest-timeout pytest-xdist
	$(ONE_CORE) $(LOWEST)/bin/python $(PYTEST) -q -m "not slow" \
		tests/model tests/passes tests/runtime tests/cli/test_main.py

# Times in the archives are that of the last commit, if nothing else is said. Modes of files are those of this umask.
DIST := from setuptools import build_meta as build; build.build_sdist("dist"); build.build_wheel("dist")
dist: $(VENV)/.installed_tests
	rm -rf dist
	mkdir -p dist build
	umask 022 && SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct)} $(BIN)/python -c '$(DIST)' > build/dist.log
	cd dist && sha256sum *

# The package without extras in an environment of its own; the tools that look at it stand in another one.
SBOM := build/sbom
TOOLS := $(SBOM)/tools/bin
sbom:
	rm -rf $(SBOM)
	$(PYTHON) -m venv $(SBOM)/core
	$(SBOM)/core/bin/python -m pip install --quiet --constraint constraints.txt .
	$(PYTHON) -m venv $(SBOM)/tools
	$(TOOLS)/python -m pip install --quiet --constraint constraints.txt cyclonedx-bom pip-licenses
	$(TOOLS)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
		--output-file $(SBOM)/upscale_onnx.cdx.json $(SBOM)/core/bin/python
	$(TOOLS)/pip-licenses --python $(SBOM)/core/bin/python --from mixed --order license --format markdown \
		--output-file $(SBOM)/licences.md

$(VENV)/.installed: $(PACKAGING)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.installed_tests: $(VENV)/.installed
	$(PIP) 'upscale-onnx[test,torch,search,report,completion,docs]'
	touch $@

# What these bring shall not be found by the tests: their environments see that of the tests, this package included, but
# not the reverse.
$(RAY)/.installed $(OLIVE)/.installed: build/%/.installed: $(VENV)/.installed_tests
	rm -rf $(@D)
	$(BIN)/python -m venv $(@D)
	$(BIN)/$(SEEN) > `$(@D)/bin/$(LIBRARIES)`/tests.pth
	$(@D)/bin/python -m $(INSTALL) --constraint constraints.txt 'upscale-onnx[$*]'
	touch $@

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
