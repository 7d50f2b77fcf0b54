# Every command sets up what it needs, in .venv; a second call starts at once.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LIVE ?=
NAME ?= github
DLT ?= dlt
ARGS ?=
# containers often set it: each process would then compile what it imports again, a second of CPU
unexport PYTHONDONTWRITEBYTECODE

# pip alone works everywhere but takes minutes; uv takes seconds. pip stays the way out, since it
# knows of indexes that only pip's own configuration names.
define install
	@test -x $(BIN)/python || { echo "making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or later is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "installing (once): $(1)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1' -c constraints.txt 2>&1 | grep -v WARNING || true
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv -c constraints.txt 2>&1 | grep -v WARNING || true
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[all]' --group $(1) 2>$(VENV)/uv.log || \
		$(BIN)/python -m pip install -q -c constraints.txt -e '.[all]' --group $(1)
	@touch $@
endef

.PHONY: help demo docs test test-unit test-all test-dlt test-nightly check audit format bench clean

help:  ## Show these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 14

$(VENV)/.demo: pyproject.toml constraints.txt
	$(call install,demo)

$(VENV)/.dev: pyproject.toml constraints.txt
	$(call install,dev)
	@touch $(VENV)/.demo

demo: $(VENV)/.demo  ## Load real GitHub issues through Dagster into DuckDB (LIVE=owner/repo: the real API)
	@$(BIN)/millstream demo $(if $(LIVE),--live $(LIVE)) $(ARGS)

test: $(VENV)/.dev  ## Run the tests (ARGS="-k github" for some)
	@# compiled once, not by each worker
	@$(BIN)/python -c "from millstream.engine import kernels; kernels.load()" || true
	@$(BIN)/python -m pytest -n 3 --dist loadgroup -q -m "not nightly" $(ARGS)

# what needs no server, no process of its own and no load
UNIT := $(addprefix tests/,alerts common config dlt_compat formats html_report test_errors.py) \
	tests/engine $(addprefix --ignore=tests/engine/,test_patch.py test_profile.py test_maps.py) \
	$(patsubst %,tests/schema_changes/test_%.py,accepted_file data_changes diff drift golden map_detection \
		messages policy profile renames row_policy snapshot yaml_comments) \
	$(patsubst %,tests/quarantine/test_%.py,entry envelope store) \
	$(addprefix tests/sources/,github http mongodb rest_api) \
	$(patsubst %,tests/sources/test_%.py,corrected_lines file_content findings json_array pages) \
	$(patsubst %,tests/destinations/test_%.py,column_types nul_characters table_names) \
	$(patsubst %,tests/runs/test_%.py,load_packages step_errors)

test-unit: $(VENV)/.dev  ## Run the tests that need no server, process or load: under a minute
	@$(BIN)/python -m pytest -n 2 -q -m "not nightly" -k "not processes" $(UNIT) $(ARGS)

test-all:  ## Run the tests on every Python from 3.10 to 3.13 that this machine has
	@for v in 3.10 3.11 3.12 3.13; do \
		p=$$(command -v python$$v) && $$p --version >/dev/null 2>&1 || { echo "python$$v: not on this machine"; continue; }; \
		$(MAKE) --no-print-directory test PYTHON=$$p VENV=.venv-$$v || exit 1; \
	done

# weekly: says what has changed before a user's installation does
test-dlt:  ## Run what must equal dlt's own result with the newest dlt (DLT=dlt==1.30.0: another)
	@$(MAKE) --no-print-directory VENV=.venv-dlt .venv-dlt/.dev
	@.venv-dlt/bin/uv pip install -q --python .venv-dlt/bin/python --upgrade-package dlt "$(DLT)" "sqlglot<30.22"
	@.venv-dlt/bin/python -c 'import dlt; print("dlt", dlt.__version__)'
	@.venv-dlt/bin/python -m pytest -n 2 -q -m "not nightly" tests/parity tests/dlt_compat tests/engine $(ARGS)

test-nightly: $(VENV)/.dev  ## Run every test, long ones included
	@MILLSTREAM_NIGHTLY=1 $(BIN)/python -m pytest -n 2 --dist loadgroup -q $(ARGS)

check: $(VENV)/.dev  ## Lint, types, layers, docs drift, known flaws of dependencies
	@$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@said=$$($(BIN)/lint-imports --no-cache) || { echo "$$said"; exit 1; }
	@$(BIN)/python docs/build_reference.py --check
	@$(BIN)/python docs/check_reliability.py
	@$(BIN)/python docs/check_words.py
	@said=$$(NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir .cache/site 2>&1) || { echo "$$said"; exit 1; }
	@$(BIN)/python .ci/audit.py

docs: $(VENV)/.dev  ## Build the documentation as a site, in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "open site/index.html, or: $(BIN)/python -m http.server --directory site"

audit: $(VENV)/.dev  ## Look the pinned dependencies up in the advisory database (needs the network)
	@$(BIN)/uvx pip-audit --strict --disable-pip --no-deps -r constraints.txt

format: $(VENV)/.dev  ## Format the code and rebuild the generated reference
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .
	@$(BIN)/python docs/build_reference.py

bench: $(VENV)/.dev  ## Run a benchmark: make bench NAME=github (CHECK=1 fails below its targets)
	@$(BIN)/python bench/$(NAME).py $(if $(CHECK),--check) $(ARGS)

clean:  ## Remove what the commands above made
	@rm -rf site .venv .venv-dlt .venv-3.* .demo .cache .hypothesis .mypy_cache .ruff_cache bench/.work
