# Everything a newcomer needs: `make demo` and `make test`. Needs Python 3.11 or newer; sets the rest up in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
PACKAGES := pyproject.toml $(wildcard plugins/*/pyproject.toml)

.PHONY: demo test check strangers strangers-table faults chaos soak bench clean

demo: $(VENV)/.run ## a conversation with tools, on the bundled simulator
	$(BIN)/convaid demo

test: $(VENV)/.test ## the tests
	$(BIN)/pytest -n auto --dist loadgroup

check: $(VENV)/.check strangers test ## the tests with the official SDKs, lint, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy convaid $(wildcard plugins/*/*.py plugins/*/convaid_*/)

strangers: $(VENV)/.test ## install what others have made, for the tests that let it talk to us
	$(BIN)/pip install --quiet -e '.[strangers]' -e './plugins/mcp[strangers]'
	@# In an environment of its own, as it brings a hundred packages along; uv is quick enough for that.
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(VENV)/langwatch
	$(BIN)/uv pip sync --quiet --python $(VENV)/langwatch tests/strangers/langwatch.txt
	@# Not npm ci, which wants the CLI's program for every system in the lock file; each machine can only see its own.
	npm install --no-save --prefix tests/strangers/js --no-audit --no-fund --silent

strangers-table: strangers ## write down in docs/strangers.md what they are seen doing
	$(BIN)/pytest --update-page tests/strangers

faults: $(VENV)/.test strangers ## play every fault against convaid and the official SDK, and write docs/faults.md
	$(BIN)/python -m tests.chaos.write_faults

chaos: $(VENV)/.test ## 10,000 conversations at random, with faults; SEED=17 for others, a few minutes on two cores
	$(BIN)/python -m tests.chaos.storm $(if $(SEED),--seed $(SEED))

soak: $(VENV)/.test ## a daemon and chaos for ten minutes: what it uses stays flat; SECONDS=3600 for longer
	$(BIN)/python -m tests.unattended.soak $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.test strangers ## measure convaid and the official SDK side by side
	$(BIN)/python benchmarks/run.py

clean: ## forget the environment
	rm -rf $(VENV)

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'convaid needs Python 3.11 or newer: make PYTHON=python3.11 $(MAKECMDGOALS)'; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Each plugin is a package of its own, installed as its users would.
$(VENV)/.run: $(VENV)/bin/pip $(PACKAGES)
	$(BIN)/pip install --quiet -e . $(PLUGINS:%=-e ./%)
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/pip install --quiet -e '.[test]' -e './plugins/pushtotalk[gpio]'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(BIN)/pip install --quiet -e '.[check]'
	@touch $@
