# Everything a developer runs. It needs Python 3.11 to 3.13, pip, make and git; the rest it brings itself.
#
# The engines' pins exclude each other's, so there are several environments, and they are never shared:
#   .venv               RunVis with its store and server, and the tools; SQLAlchemy 2.1
#   .venv-sqlalchemy20  the same on SQLAlchemy 2.0
#   .venv-airflow       a real Airflow, with RunVis as a worker has it
#   .venv-prefect       a real Prefect, with RunVis as a worker has it
# and two for the benchmarks only:
#   .venv-openlineage   a real Airflow with the OpenLineage provider instead of RunVis
#   .venv-dagster       Dagster with its PostgreSQL storage

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .uv/bin/uv
CONSTRAINTS := .ci/constraints
ENVIRONMENTS := dev sqlalchemy20 airflow prefect
PEERS := openlineage dagster
# An environment is set up again when what it is made from has changed, and only then.
STAMPS := $(ENVIRONMENTS:%=.uv/%.stamp) .uv/chromium.stamp .uv/strace.stamp
PEER_STAMPS := $(PEERS:%=.uv/%.stamp)

# What runs on SQLAlchemy, and so is tested on 2.0 too.
STORE_TESTS := tests/runvis_core/store

# What starts engines, or counts on the machine's cores: not beside other tests.
ALONE := tests/end_to_end tests/faults
# No test of these has a limit of more than ten minutes.
PARALLEL := --numprocesses auto --dist loadfile -o faulthandler_timeout=700

# pytest's own arguments, as in: make test ARGS='tests/runvis_core -k fold'
ARGS ?=
# How many times the small form of the tests of faults, as in: make faults ROUNDS=5; 34 reaches the figures that are promised
ROUNDS ?= 34
# What fills the table of what is promised, beside the tests of faults themselves.
PROMISED := $(addprefix tests/runvis_core/,ledger/test_tampering.py ledger/test_tree.py ledger/test_notes.py \
  ledger/test_second_implementation.py store/test_roles.py api/test_hostile.py api/test_access.py emit/test_canaries.py web/test_hostile.py)
# The benchmarks to run, as in: make bench CASES='record ingest'
CASES ?=

AIRFLOW_PYTHON := $(CURDIR)/.venv-airflow/bin/python
PREFECT_PYTHON := $(CURDIR)/.venv-prefect/bin/python
TEST_ENV := RUNVIS_TEST_AIRFLOW_PYTHON=$(AIRFLOW_PYTHON) RUNVIS_TEST_PREFECT_PYTHON=$(PREFECT_PYTHON)
DEMO_ENV := RUNVIS_DEMO_AIRFLOW_PYTHON=$(AIRFLOW_PYTHON) RUNVIS_DEMO_PREFECT_PYTHON=$(PREFECT_PYTHON)
BENCH_ENV := RUNVIS_BENCH_AIRFLOW_PYTHON=$(AIRFLOW_PYTHON) \
  RUNVIS_BENCH_PREFECT_PYTHON=$(PREFECT_PYTHON) \
  RUNVIS_BENCH_OPENLINEAGE_PYTHON=$(CURDIR)/.venv-openlineage/bin/python \
  RUNVIS_BENCH_DAGSTER_PYTHON=$(CURDIR)/.venv-dagster/bin/python

.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMPS) ## make all environments (the other targets do it themselves)

.PHONY: demo
demo: setup ## run a real Airflow and a real Prefect into one history, and look at it; SERVE=1 keeps its pages up
	$(DEMO_ENV) .venv/bin/runvis demo $(if $(SERVE),--serve)

.PHONY: test
test: setup ## run all tests: by file on all cores, the store's again on SQLAlchemy 2.0, then those that want the machine alone
ifeq ($(strip $(ARGS)),)
	$(TEST_ENV) .venv/bin/python -m pytest $(PARALLEL) $(ALONE:%=--ignore=%)
	$(TEST_ENV) RUNVIS_TEST_SQLALCHEMY=2.0 .venv-sqlalchemy20/bin/python -m pytest $(PARALLEL) $(STORE_TESTS)
	$(TEST_ENV) .venv/bin/python -m pytest $(ALONE)
else
	$(TEST_ENV) .venv/bin/python -m pytest $(ARGS)
endif

.PHONY: faults
faults: setup ## the tests of faults in their large form, and the table of what was promised and found; ROUNDS=34
	$(TEST_ENV) RUNVIS_FAULTS_ROUNDS=$(ROUNDS) .venv/bin/python -m pytest --timeout $$((300 * $(ROUNDS))) \
	  -o faulthandler_timeout=0 tests/faults $(PROMISED)

.PHONY: check
check: setup ## lint, format, types, floors
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/pyright --project pyproject.toml --pythonpath .venv/bin/python
	.venv/bin/pyright --project .ci/pyright-airflow.json --pythonpath $(AIRFLOW_PYTHON)
	.venv/bin/pyright --project .ci/pyright-prefect.json --pythonpath $(PREFECT_PYTHON)

.PHONY: format
format: .uv/dev.stamp ## put the code in its one form
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

.PHONY: bench
bench: .uv/dev.stamp .uv/airflow.stamp .uv/prefect.stamp $(PEER_STAMPS) ## measure RunVis beside its peers; CASES='…' runs some
	$(BENCH_ENV) .venv/bin/python -m benchmarks $(CASES)

.PHONY: docs
docs: .uv/dev.stamp ## check that the docs' links lead somewhere and that nothing is undocumented
	.venv/bin/python -m pytest tests/docs

.PHONY: constraints
constraints: $(UV) ## resolve again what .ci/constraints pins
	$(call compile,dev,--group dev --extra postgres --extra server)
	echo 'sqlalchemy<2.1' | $(call compile,sqlalchemy20,--group dev --extra postgres --extra server --constraints -)
	$(call compile,airflow,--group airflow-engine)
	$(call compile,prefect,--group prefect-engine)
	$(call compile_peer,openlineage,--constraints $(CONSTRAINTS)/airflow.txt)
	$(call compile_peer,dagster)

.PHONY: clean
clean: ## remove the environments and what builds and tests leave behind
	rm -rf .uv .venv $(patsubst %,.venv-%,$(filter-out dev,$(ENVIRONMENTS)) $(PEERS)) .demo dist build .pytest_cache .ruff_cache \
	  .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# For every Python that RunVis supports at once; names and versions only, no address and no path.
resolve = $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate
compile = $(resolve) pyproject.toml $(2) --output-file $(CONSTRAINTS)/$(1).txt
# The same Airflow as RunVis is measured in: only the provider differs.
compile_peer = $(resolve) --group $(1)-peer $(2) --output-file $(CONSTRAINTS)/$(1).txt

$(UV): Makefile
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
	  "$(PYTHON) is Python %d.%d, RunVis needs 3.11 to 3.13: make PYTHON=python3.12 …" % sys.version_info[:2])'
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	touch $@

# $(1): folder, $(2): constraints, $(3): dependency group, $(4): extras of RunVis
define install
	$(UV) venv --quiet --clear --no-python-downloads --python .uv/bin/python $(1)
	$(UV) pip install --quiet --python $(1)/bin/python --constraints $(CONSTRAINTS)/$(2).txt --group $(3) --editable '.[$(4)]'
	touch $@
endef

comma := ,
SERVER_SIDE := postgres$(comma)server

.uv/dev.stamp: pyproject.toml $(CONSTRAINTS)/dev.txt $(UV)
	$(call install,.venv,dev,dev,$(SERVER_SIDE))

.uv/sqlalchemy20.stamp: pyproject.toml $(CONSTRAINTS)/sqlalchemy20.txt $(UV)
	$(call install,.venv-sqlalchemy20,sqlalchemy20,dev,$(SERVER_SIDE))

.uv/airflow.stamp: pyproject.toml $(CONSTRAINTS)/airflow.txt $(UV)
	$(call install,.venv-airflow,airflow,airflow-engine,airflow)

.uv/prefect.stamp: pyproject.toml $(CONSTRAINTS)/prefect.txt $(UV)
	$(call install,.venv-prefect,prefect,prefect-engine,prefect)

# What is the system's own: where there is none, Debian's is installed, which takes root.
# $(1): the package, $(2): commands, any of which will do
define debian
	@mkdir -p .uv
	@for command in $(2); do if command -v $$command >/dev/null; then exit 0; fi; done; \
	  sudo=$$([ "$$(id -u)" -eq 0 ] || command -v sudo) || true; \
	  echo 'installing $(1) with apt-get'; \
	  { $$sudo apt-get install -y -qq $(1) || { $$sudo apt-get update -qq && $$sudo apt-get install -y -qq $(1); }; } >.uv/$(1).log 2>&1 \
	    || { tail .uv/$(1).log; echo 'no $(1) is on PATH and apt-get could not install it: install it by hand'; exit 1; }
	touch $@
endef

# The browser of the UI's tests.
.uv/chromium.stamp:
	$(call debian,chromium,chromium chromium-browser google-chrome)

# It puts faults into the system calls of the tests of faults.
.uv/strace.stamp:
	$(call debian,strace,strace)

# A peer's environment has no RunVis in it.
$(PEER_STAMPS): .uv/%.stamp: pyproject.toml $(CONSTRAINTS)/%.txt $(UV)
	$(UV) venv --quiet --clear --no-python-downloads --python .uv/bin/python .venv-$*
	$(UV) pip install --quiet --python .venv-$*/bin/python --constraints $(CONSTRAINTS)/$*.txt --group $*-peer
	touch $@
