# `make` alone lists the targets. Each does its own set-up (scripts/set-up.sh), which is there at once when it stands.
SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help ready repro test quick ui docs record lint check check-cluster bench fuzz lock

JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
PIPELINE ?=
CLUSTER ?=
SECONDS ?= 60
bin := .venv/bin
slow := pipeline tracking $(patsubst %,test_%.py,crashes made_up tagging_corpora explain comparison convergence shell device threads memory recipes python_docs kernel_cache any_recipe warm made_of fetch set_up any_damage doctor store tagging_stages classification_pipeline speech_pipeline docs processes stretches any_text)

# Stages say `python`, and mean that of the environment; what another project exported must not reach them.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV DVC_ROOT
ifdef PYTHON
export PYTHON
endif

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

ready: ## set up .venv, and nothing else
	@scripts/set-up.sh

repro: ready ## train, evaluate, compare and record all arms (JOBS=1: one at a time; PIPELINE=<task>: of pipelines/<task>; CLUSTER=<address>: by its workers)
	@CLUSTER=$(CLUSTER) scripts/repro.sh $(JOBS) $(PIPELINE)

test: ready ## run the tests
	@TMPDIR=$$(scripts/scratch.sh) $(bin)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

quick: ready ## the oracles alone, without pipeline, servers, crashes and figures
	@TMPDIR=$$(scripts/scratch.sh) $(bin)/python -m pytest -q -n 2 --dist worksteal $(addprefix --ignore=tests/,$(slow))

ui: ready ## open the results in MLflow's user interface
	@$(bin)/unrolled ui

docs: ready ## the pages and the library's docstrings as a site, in site/
	@$(bin)/python -m sphinx -q -W --keep-going -c docs . site && echo "site/docs/index.html"

record: ready ## publish the results to MLflow once more (PIPELINE=<task>: those of pipelines/<task>)
	@cd $(if $(PIPELINE),pipelines/$(PIPELINE),.) && dvc --wait-for-lock repro -f -s record

lint: ready ## ruff and mypy
	@$(bin)/ruff check
	@$(bin)/mypy

check: lint test ## all that a change must pass

check-cluster: ready ## arms over workers that are processes of their own
	@sed -nE 's/^([^ =]+==[^ ;]+).*/\1/p' requirements.lock >.venv/locked
	@$(bin)/python -m pip install -q --disable-pip-version-check --no-build-isolation -c .venv/locked -e '.[cluster]'
	@$(bin)/python -m pytest -q -m cluster tests/cluster

bench: ready ## speed, memory and scaling beside what everyone writes
	@PYTHONPATH=src $(bin)/python -m benchmarks.run

fuzz: ready ## fuzz what reads foreign bytes (SECONDS=60: of each reader)
	@$(bin)/python -m pip install -q --disable-pip-version-check atheris
	@for target in settings txt gz zip run checkpoint; do \
	  PYTHONPATH=src $(bin)/python tests/fuzz.py $$target -max_total_time=$(SECONDS) || exit 1; done

lock: ready ## write requirements.lock anew, its versions kept (UPGRADE=1: the newest that pyproject.toml allows)
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)
