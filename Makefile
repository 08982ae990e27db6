# The commands of a checkout. `make` alone prints the targets.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := $(VENV)-tools
TOOLS_STAMP := $(TOOLS)/.installed
PYTHON ?= $(shell for each in python3.11 python3.12 python3.13 python3; do \
	$$each -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$each && break; done)
ARGS ?=

.DEFAULT_GOAL := targets
.PHONY: targets setup demo test test-faults fuzz soak lint conformance bench composing backlog lock audit sbom clean

targets: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## build .venv with exactly the locked packages (Python 3.11 to 3.13)

demo: $(STAMP) ## a node, an archive and a radiograph on this machine; prints what came back
	$(BIN)/cxrnode demo $(ARGS)

test: $(STAMP) ## the tests; ARGS=--require-peers counts a missing peer as a failure
	$(BIN)/pytest $(ARGS)

test-faults: $(STAMP) ## the long form of the fault suites, with counts of what was injected, lost and doubled
	$(BIN)/pytest tests/faults tests/end_to_end/test_kill_serve.py --long --require-peers $(ARGS)

fuzz: $(STAMP) ## the long form of fuzzing: associations, headers, pixels, settings
	$(BIN)/pytest tests/fuzz --long --require-peers $(ARGS)

soak: $(STAMP) ## an hour of mixed traffic with faults, reconciled instance by instance
	$(BIN)/python -m tests.soak $(ARGS)

lint: $(STAMP) ## style, types, and the layers of the architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

conformance: $(STAMP) ## write docs/conformance.md from the tables that the program runs on
	@page="$$($(BIN)/cxrnode conformance)" && printf '%s\n' "$$page" > docs/conformance.md

bench: $(STAMP) ## what each model costs beside its bare network; ARGS="--out DIR" keeps the tables
	$(BIN)/python -m benchmarks.models $(ARGS)

composing: $(STAMP) ## what composing SEG and SR costs beside highdicom's constructors
	$(BIN)/python -m benchmarks.composing $(ARGS)

backlog: $(STAMP) ## what a claim costs in ledgers of three sizes, and a start with ten thousand studies queued
	$(BIN)/python -m benchmarks.backlog $(ARGS)

lock: $(STAMP) ## choose the newest allowed packages anew, where PyTorch's CPU build is the one found
	$(BIN)/pip-compile --quiet --upgrade --extra dev --extra train --all-build-deps --generate-hashes --strip-extras \
		--no-header --annotation-style line --no-emit-options --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --unsafe-package torch --constraint deploy/torch.txt \
		--output-file deploy/requirements.lock pyproject.toml
	sed -i -e '1i # Made by `make lock`. PyTorch is in torch.txt, by version (docs/decisions/0011).' \
		-e '/^# WARNING: /,$$d' deploy/requirements.lock
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --no-header --annotation-style line \
		--no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--output-file deploy/tools.lock deploy/tools.in
	sed -i -e '1i # Made by `make lock` from tools.in.' -e '/^# WARNING: /,$$d' deploy/tools.lock

audit: $(TOOLS_STAMP) ## known vulnerabilities of what is locked, where a service that knows them can be reached
	@for file in requirements.lock tools.lock torch.txt; do \
		echo "deploy/$$file"; \
		$(TOOLS)/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off -r deploy/$$file $(ARGS) || { \
			echo "Not clean, or could not be audited: see 'Auditing what is installed' in docs/operations.md"; exit 1; }; \
	done

sbom: $(TOOLS_STAMP) ## write dist/sbom.cdx.json: the locked packages with their hashes, and the models (CycloneDX)
	@mkdir -p dist && rm -f dist/sbom.cdx.json
	@$(TOOLS)/bin/cyclonedx-py requirements deploy/requirements.lock --pyproject pyproject.toml \
		--output-reproducible --of JSON -o dist/packages.cdx.json 2>dist/sbom.log || { cat dist/sbom.log; exit 1; }
	@$(TOOLS)/bin/python deploy/sbom.py dist/packages.cdx.json > dist/sbom.part
	@$(TOOLS)/bin/python -c "from cyclonedx.validation.json import JsonStrictValidator as V; \
		from cyclonedx.schema import SchemaVersion; import sys; \
		sys.exit(V(SchemaVersion.V1_6).validate_str(open('dist/sbom.part').read()))"
	@mv dist/sbom.part dist/sbom.cdx.json
	@rm -f dist/packages.cdx.json dist/sbom.log
	@echo dist/sbom.cdx.json

clean: ## remove what the other targets made
	rm -rf $(VENV) $(TOOLS) build dist demo-out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(STAMP): pyproject.toml deploy/requirements.lock deploy/torch.txt
	@test -n "$(PYTHON)" || { echo "cxrnode needs Python 3.11 to 3.13 with its venv module; name one: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --only-binary :all: --require-hashes -r deploy/requirements.lock
	$(BIN)/python -m pip install --quiet -r deploy/torch.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $(STAMP)

$(TOOLS_STAMP): deploy/tools.lock
	@test -n "$(PYTHON)" || { echo "name a Python 3.11 to 3.13: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --no-deps --only-binary :all: --require-hashes -r deploy/tools.lock
	touch $@
