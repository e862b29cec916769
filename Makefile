# `make help` lists what there is to do. It needs make and Python 3.11, 3.12 or 3.13, nothing else.
PYTHON ?= python3
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --fork-strategy fewest \
	--generate-hashes --no-header --no-annotate
PEERS := benchmarks/peers/requirements

# What builds the images, with the flags of `docker build`, and what it calls them.
IMAGE_BUILD ?= docker build
TAG ?= dev
# The manifests that `make deploy` applies to the cluster of the current kube context.
OVERLAY ?= kind

define CHECK_PYTHON
import sys
needed = "ctscan needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12"
if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit("%s is Python %d.%d; " % ((sys.executable,) + sys.version_info[:2]) + needed)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(sys.executable + " has no module venv; on Debian and Ubuntu: apt install python3-venv")
endef
export CHECK_PYTHON

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test check format lock docs bench bench-quick audit train evaluate clean \
	images kind-up deploy undeploy e2e e2e-all

help: ## print this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

serve: .venv/.installed ## start both services on this machine, until Ctrl-C
	@$(BIN)/ctscan serve

test: check ## everything that needs no cluster, with branch coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: .venv/.installed ## lint, types and import rules alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: .venv/.installed ## put the sources into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.installed ## write the generated pages anew
	$(BIN)/python docs/generate.py

bench: .venv/.installed .venv-peers/.installed ## measure and write the tables, in twelve minutes
	$(BIN)/python -m benchmarks.run

bench-quick: .venv/.installed .venv-peers/.installed ## the core of it, printed, in three minutes
	$(BIN)/python -m benchmarks.run --quick

audit: .venv/.installed ## tell what is wrong with labelled images: DATA=folder [OUT=folder]
	@test -n "$(DATA)" || { echo "make audit: name the data, DATA=folder" >&2; exit 1; }
	$(BIN)/python -m training.audit --data "$(DATA)" $(if $(OUT),--out "$(OUT)")

# Killed, it goes on where it was when it is called again: what is done lies in runs/train.
train: .venv/.installed ## train weights and their card: DATA=folder [ARCHITECTURE=name] [ARGUMENTS=…]
	@test -n "$(DATA)" || { echo "make train: name the data, DATA=folder" >&2; exit 1; }
	$(BIN)/python -m training.train --data "$(DATA)" \
		$(if $(ARCHITECTURE),--architecture "$(ARCHITECTURE)") $(ARGUMENTS)

# With FOLDS it writes docs/model-card.md, else only a report in runs/evaluate.
evaluate: .venv/.installed ## score weights: DATA=folder [FOLDS=runs/train] [MODEL=file]
	@test -n "$(DATA)" || { echo "make evaluate: name the data, DATA=folder" >&2; exit 1; }
	$(BIN)/python -m training.evaluate --data "$(DATA)" $(if $(MODEL),--model "$(MODEL)") \
		$(if $(FOLDS),--folds "$(FOLDS)" --page docs/model-card.md) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(OUT),--out "$(OUT)")

images: ## build ctscan-predictor, -transformer and -local; TORCH_INDEX_URL=… for CPU wheels of torch
	for target in predictor transformer local; do \
		$(IMAGE_BUILD) --target $$target --tag ctscan-$$target:$(TAG) \
			$(if $(TORCH_INDEX_URL),--build-arg TORCH_INDEX_URL="$(TORCH_INDEX_URL)") . || exit 1; \
	done

kind-up: ## with Docker, kind and kubectl: a cluster, the images in it, the service on it
	@test "$(TAG)" = dev || { echo "make kind-up: overlays/kind runs the tag dev, so leave TAG" >&2; exit 1; }
	manifests/platform/kind/up
	@$(MAKE) images
	kind load docker-image ctscan-predictor:$(TAG) ctscan-transformer:$(TAG) --name ctscan
	@$(MAKE) deploy

deploy: ## apply manifests/overlays/OVERLAY to the current kube context and wait until it is ready
	kubectl apply -k manifests/overlays/$(OVERLAY)
	@manifests/wait-ready ctscan
	@echo "try it:  curl -F file=@docs/slice.png -H Host:$$(kubectl -n ctscan get inferenceservice \
		ctscan -o jsonpath='{.status.url}' | sed 's|.*://||') http://127.0.0.1:30080/predict"

undeploy: ## take it off again, feedback included
	kubectl delete -k manifests/overlays/$(OVERLAY) --ignore-not-found

e2e: .venv/.installed ## deploy into a namespace of its own on the current kube context and call it; KEEP=1
	$(BIN)/pytest tests/e2e -m "not further"

e2e-all: .venv/.installed ## all of that and whatever else happens to pods, in 12 minutes; KEEP=1
	$(BIN)/pytest tests/e2e

lock: | $(BIN)/uv ## pin anew what pyproject.toml asks for; UPGRADE=1 takes the newest
	$(COMPILE) pyproject.toml --extra dev $(if $(UPGRADE),--upgrade) --output-file locks/dev.txt
	$(COMPILE) pyproject.toml --extra predictor --constraint locks/dev.txt \
		--output-file locks/predictor.txt
	$(COMPILE) pyproject.toml --extra transformer --constraint locks/dev.txt \
		--output-file locks/transformer.txt
	$(COMPILE) $(PEERS).in $(if $(UPGRADE),--upgrade) --output-file $(PEERS).txt
	@! grep -n '://' locks/*.txt $(PEERS).txt || { echo "make lock: a lock holds an address" >&2; exit 1; }

clean: ## remove what make made
	rm -rf .venv .venv-peers .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache \
		build dist ctscan.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Locked packages into the environment $(1). uv does in a fifth of the time what pip does; pip itself
# goes to work where its configuration names another index, which uv would not know of, and where uv
# finds no way out.
define INSTALL
	@echo "installing the locked packages into $(1)"
	@{ ! $(1)/bin/python -m pip config list | grep -E '(index-url|no-index)=' >/dev/null \
		&& $(BIN)/uv pip sync --quiet --python $(1)/bin/python --require-hashes $(2); } \
		|| $(1)/bin/python -m pip install --quiet --require-hashes --requirement $(2)
endef

.venv/.installed: locks/dev.txt pyproject.toml | $(BIN)/uv
	$(call INSTALL,.venv,locks/dev.txt)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --offline --no-deps \
		--no-build-isolation --editable .
	@touch $@

# What `make bench` measures the service against, apart from what the service needs.
.venv-peers/.installed: $(PEERS).txt | .venv/.installed
	@test -d .venv-peers || $(BIN)/python -m venv .venv-peers
	$(call INSTALL,.venv-peers,$(PEERS).txt)
	@touch $@

$(BIN)/uv:
	@$(PYTHON) -c "$$CHECK_PYTHON"
	@$(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' locks/dev.txt | $(BIN)/python -m pip install --quiet \
		--require-hashes --no-deps --requirement /dev/stdin
