# Every target is self-contained: it makes the virtual environment, installs the locked dependencies and
# builds the page when they are missing or out of date.

# A Python compiled without optimizations costs a sixth more processor time: the system's one is taken instead of it.
PYTHON ?= $(shell python3 scripts/find_python.py || echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DATA_DIR ?= data/demo
PORT ?= 8000
FRAMES ?= 1000000
SEED ?= $(shell date +%s)
# make test: a third of the tests wait for processes that they started, so there are two workers for each processor.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(2 * (os.cpu_count() or 1))")
# make outage: how long the broker is away, and the frames a second meanwhile
SECONDS ?= 60
RATE ?= 5000
# make kills: trades and L2 records together, and how often each sink's instances are killed
RECORDS ?= 2000000
KILLS ?= 30
# embedded: in memory; kafka: Apache Kafka (needs Java 17, and Maven once), kept between runs
BROKER ?= embedded

PAGE := gateway/static/index.html
PAGE_SOURCES := $(shell find gateway/dashboard gateway/client/src gateway/client/package.json -type f -not -path '*/node_modules/*' 2>/dev/null)
# The stream's client in TypeScript: the page is made of its sources, programs and tests of what is built here.
CLIENT := gateway/client/dist/index.js
CLIENT_SOURCES := $(shell find gateway/client -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)

# Our files, in a checkout or an archive: not what is installed, built or cached.
FIND_OURS := find . -type d \( -name node_modules -o -path ./build -o -name '.?*' ! -name .github \) -prune -o -type f

.DEFAULT_GOAL := help
.PHONY: help demo asyncapi audit chart compose-smoke containers coverage kube-smoke quick matrix soak outage kills rolling fuzz test check bench dist recordings lint types format schemas page client docs references lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/.runtime $(PAGE) ## Run the whole pipeline on simulated venues (DATA_DIR, PORT, BROKER=embedded|kafka)
	@exec $(BIN)/alphapulse demo --data-dir "$(DATA_DIR)" --port "$(PORT)" --broker "$(BROKER)"

# scripts/chart-tools: with what the chart's tests take from other projects, where there is Go.
test: $(VENV)/.dev $(PAGE) $(CLIENT) ## Run all tests (WORKERS; ARGS: passed on to pytest)
	scripts/chart-tools $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

# Apart from `test`: before Python 3.12, measuring makes Python code half as fast. With ARGS it is a part of the tests, of
# which the limit on coverage says nothing.
coverage: $(VENV)/.dev $(PAGE) $(CLIENT) ## Run all tests, and fail below 90 % of statements and branches
	$(BIN)/python -m coverage erase
	scripts/chart-tools $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term:skip-covered $(if $(ARGS),--cov-fail-under=0) $(ARGS)

# A minute on two cores, for between two commits: no coverage, no real broker, a quarter of the random examples.
quick: $(VENV)/.dev $(PAGE) ## Run unit and property tests only, without coverage (about a minute)
	FAULT_SCRIPTS=10 FUZZ_FRAMES=5000 $(BIN)/python -m pytest -q -n 2 --dist loadgroup -m "not slow" \
	    --hypothesis-profile quick tests/unit tests/property $(ARGS)

# The same on every Python of PYTHONS that this machine has, each in a virtual environment of its own (.venv-3.12).
matrix: $(PAGE) ## Run the tests of `make quick` on Python 3.11, 3.12 and 3.13 (PYTHONS)
	@MAKE="$(MAKE)" scripts/matrix $(PYTHONS)

soak: $(VENV)/.dev ## Play 200 random fault scripts of 10,000 frames against every venue's protocol (SEED; some minutes)
	@echo "==> seeds from $(SEED)"
	FAULT_SCRIPTS=200 FAULT_FRAMES=10000 FAULT_SEED=$(SEED) $(BIN)/python -m pytest tests/property/test_fault_scripts.py -n 2 -rP -q $(ARGS)

outage: $(VENV)/.dev ## Kill a real broker under load for a minute, bring it back, judge what that did (SECONDS, RATE)
	$(BIN)/python -m tests.outage --seconds "$(SECONDS)" --rate "$(RATE)" $(ARGS)

kills: $(VENV)/.dev ## Kill sinks on a real broker under full load, compare all they stored with the source (RECORDS, KILLS, SEED)
	$(BIN)/python -m tests.kills --records "$(RECORDS)" --kills "$(KILLS)" --seed "$(SEED)" $(ARGS)

rolling: $(VENV)/.dev ## Restart every service under load, twice, on a broker of three nodes, judge that (ARGS: --blue-green)
	$(BIN)/python -m tests.rolling $(ARGS)

fuzz: $(VENV)/.dev ## Feed venues' protocols and columnar decoder a night's worth of mangled frames and batches (FRAMES)
	FUZZ_FRAMES=$(FRAMES) MUTATED_BATCHES=$(FRAMES) $(BIN)/python -m pytest -n 2 tests/property/test_venue_fuzz.py \
	    tests/property/test_columnar.py $(ARGS)

check: $(VENV)/.dev $(PAGE) $(CLIENT) ## Lint, types, import rules, layout, schemas, spelling, TOML, YAML, workflows, references, the chart, the client's and the page's own checks
	$(BIN)/python -m pip --disable-pip-version-check check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/layout.py
	$(BIN)/python -m schemas check
	$(BIN)/typos
	$(FIND_OURS) -name '*.toml' -print0 | xargs -0 $(BIN)/check-toml
	$(FIND_OURS) -name '*.y*ml' ! -path './helm/*/templates/*' -print0 | xargs -0 $(BIN)/check-yaml --unsafe
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/python scripts/metrics_doc.py --check
	$(BIN)/python scripts/records_doc.py --check
	$(BIN)/python scripts/asyncapi_doc.py --check
	$(BIN)/python scripts/chart.py --check
	$(BIN)/python scripts/settings_doc.py --check
	$(BIN)/python scripts/cli_doc.py --check
	$(BIN)/python scripts/sql_doc.py --check
	$(BIN)/python -m tests.documents --check
	@if command -v promtool >/dev/null; then cd deploy/observability/prometheus && \
	    promtool check config prometheus.yml && promtool test rules tests/*.yml; \
	else echo "promtool is not installed: Prometheus' rules are not checked"; fi
	cd gateway/client && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent check
	cd gateway/dashboard && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent check

compose-smoke: $(VENV)/.dev ## Bring the compose file up on stand-ins, break it, count its rows (needs a Docker engine, root)
	$(BIN)/python scripts/compose_smoke.py --build $(ARGS)

# Needs Go; what it builds first is kept.
kube-smoke: $(VENV)/.dev ## Install, upgrade and remove the chart on a real Kubernetes API server (built once: half an hour)
	$(BIN)/python scripts/kube_smoke.py $(ARGS)

# In an environment of its own: what builds pages is no dependency. Nothing is asked of another host but the packages.
docs: requirements-docs.lock deploy/site/node_modules | $(BIN)/python ## Build the documentation's site (build/site), strictly, and check its links
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r requirements-docs.lock
	$(PYTHON) scripts/docs_site.py collect
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --quiet --config-file deploy/site/mkdocs.yml
	$(PYTHON) scripts/docs_site.py check

deploy/site/node_modules: deploy/site/package-lock.json deploy/site/.npmrc | $(VENV)/.node
	@cd deploy/site && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --loglevel=error
	@touch $@

# In an environment of its own: what audits is no dependency. hadolint is a program that is run, nothing is linked with it.
audit: requirements-audit.lock | $(BIN)/python ## Look for known vulnerabilities in all locks, and lint the Dockerfiles (needs the network)
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r requirements-audit.lock
	.venv-audit/bin/hadolint deploy/Dockerfile deploy/standin/Dockerfile
	@for lock in requirements.lock requirements-dev.lock requirements-node.lock requirements-image.lock requirements-docs.lock; do \
	    echo "==> $$lock"; .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$lock || exit; \
	done
	cd gateway/client && npm audit
	cd gateway/dashboard && npm audit
	cd deploy/site && npm audit

# Nothing is skipped for want of an engine or an image, as it is by `make test`. The reaper has no stand-in.
containers: $(VENV)/.dev ## Run the contract suites over Redpanda and ClickHouse in containers (STANDINS=1: over the stand-ins)
	CONTAINERS=required $(if $(STANDINS),STANDINS=1 TESTCONTAINERS_RYUK_DISABLED=true) \
	    $(BIN)/python -m pytest -m containers --durations 10 tests/integration $(ARGS)

bench: $(VENV)/.dev ## Run the benchmarks (ratios against a baseline in the same run)
	$(BIN)/python -m tests.benchmarks $(ARGS)

dist: $(VENV)/.dev $(PAGE) ## Build wheel, sdist and notes of a release into dist/ (TAG: has to be the version's)
	$(BIN)/python scripts/dist.py $(TAG)

recordings: $(VENV)/.dev ## Make the recordings in recordings/ anew, with their figures (a minute or two)
	$(BIN)/python -m tests.recordings

format: $(VENV)/.dev ## Format the Python code
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

asyncapi: $(VENV)/.dev ## Write docs/asyncapi.json, the stream's messages as an AsyncAPI document
	$(BIN)/python scripts/asyncapi_doc.py

chart: $(VENV)/.dev ## Write what is made in the Helm chart: README, schema of its values, alerts, dashboards, venues' ports
	$(BIN)/python scripts/chart.py

references: $(VENV)/.dev ## Write the documents that are made of code: metrics, records, configuration, command line, queries, what is run
	$(BIN)/python scripts/metrics_doc.py
	$(BIN)/python scripts/records_doc.py
	$(BIN)/python scripts/settings_doc.py
	$(BIN)/python scripts/cli_doc.py
	$(BIN)/python scripts/sql_doc.py
	$(BIN)/python -m tests.documents

page: $(PAGE) ## Build the dashboard

client: $(CLIENT) ## Build the stream's client in TypeScript

lock: ## Renew the locked versions (needs uv)
	scripts/lock

clean: ## Remove what the other targets made
	rm -rf $(VENV) .venv-* gateway/static gateway/dashboard/node_modules gateway/client/node_modules gateway/client/dist deploy/site/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache build dist *.egg-info .coverage .coverage.* htmlcov coverage.xml
	find . -name __pycache__ -not -path './.venv*/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("AlphaPulse needs Python 3.11 or later; $(PYTHON) is " + sys.version.split()[0] + ". Say e.g. make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@echo "==> making the virtual environment $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

# The locks are complete, so pip resolves nothing (--no-deps): in hash mode, pip before 24 refuses a complete lock as soon
# as a release newer than the locked one appears of a package that another asks for with an extra.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "==> installing what AlphaPulse runs on (about a minute)"
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "==> installing what checks and tests need"
	@$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

# Node.js from the machine if the page's build tool can use it (20.19, or 22.12 and later), else from its PyPI package.
$(VENV)/.node: requirements-node.lock | $(BIN)/python
	@if node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit((a == 20 && b >= 19) || (a == 22 && b >= 12) || a > 22 ? 0 : 1)' 2>/dev/null && command -v npm >/dev/null; \
	then true; else echo "==> installing Node.js"; $(PIP) install --no-deps --require-hashes -r requirements-node.lock; fi
	@touch $@

$(PAGE): $(PAGE_SOURCES) | $(VENV)/.node
	@echo "==> building the page"
	@cd gateway/dashboard && PATH="$(CURDIR)/$(BIN):$$PATH" && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build
	@touch $@

$(CLIENT): $(CLIENT_SOURCES) | $(VENV)/.node
	@echo "==> building the client of the stream"
	@cd gateway/client && PATH="$(CURDIR)/$(BIN):$$PATH" && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build
	@touch $@
