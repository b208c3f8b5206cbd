# outrider. `make help` lists the targets; every target does its own set-up.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
# The name carries the content: the same pyproject and constraints are never installed twice.
STAMP := $(VENV)/.set-up-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
PYTEST := $(BIN)/python -m pytest
# Debian packages that some tests and the benchmark want; without them those tests skip and say so.
DEBIAN := wrk nginx prometheus nghttp2-client iptables nftables iproute2
JOBS ?= 2
ARGS ?=
SUITE ?=

.DEFAULT_GOAL := help
.PHONY: help setup system-deps demo run test native native-test parity w3c h2spec lint format types budget bench check clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## .venv with the exact versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "outrider needs Python 3.11 or newer"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -c constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet --only-binary :all: --no-build-isolation -c constraints.txt --group dev -e .
	@rm -f $(VENV)/.set-up-*
	@touch $@

system-deps: ## Debian packages for the tests marked system (as root; else says what it skips)
	@missing=""; for package in $(DEBIAN); do \
		dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$package"; done; \
	if [ -z "$$missing" ]; then echo "system-deps: all installed: $(DEBIAN)"; \
	elif [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then echo "system-deps: skipped (needs root and apt-get):$$missing"; \
	else apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing \
		|| echo "system-deps: could not install:$$missing"; fi

demo: $(STAMP) ## two services behind two proxies, traced and counted; until interrupted
	$(BIN)/python -m proxy demo $(ARGS)

run: $(STAMP) ## the proxy: make run ARGS="-c envoy.yaml"
	$(BIN)/python -m proxy run $(ARGS)

test: $(STAMP) ## every quick test
	$(PYTEST) -n $(JOBS) -m "not slow and not parity" --ignore=tests/parity $(ARGS)

parity: $(STAMP) ## the same bootstrap through the real Envoy and outrider, compared
	$(PYTEST) -n $(JOBS) -m parity $(ARGS)

w3c: $(STAMP) ## the real W3C trace-context suite with each tracer: make w3c SUITE=folder-of-w3c/trace-context
	@test -n "$(SUITE)" || { echo 'name the checkout of github.com/w3c/trace-context: make w3c SUITE=folder'; exit 1; }
	$(BIN)/python -m tests.support.w3c "$(SUITE)" $(ARGS)

h2spec: $(STAMP) ## the cases of h2spec, which it installs (wants a Go toolchain)
	@if command -v go >/dev/null; then \
		GOBIN=$(CURDIR)/$(BIN) go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible && \
		$(PYTEST) tests/integration/test_h2spec.py $(ARGS); \
	else echo "h2spec: skipped (no Go toolchain)"; fi

# The hot path compiled (setup.py): a wheel, and the same unpacked, which tests and benchmark run. The stamp is the
# sources' content: the same sources are never compiled twice.
NATIVE := build/native
NATIVE_STAMP := $(NATIVE)/.built-$(shell cat setup.py $$(find proxy -name '*.py' -o -name '*.p[yx][xdi]' | LC_ALL=C sort) | cksum | cut -d' ' -f1)

native: $(NATIVE_STAMP) ## the hot path compiled by mypyc (wants a C compiler, takes two minutes): build/native

$(NATIVE_STAMP): $(STAMP)
	rm -rf $(NATIVE) build/native-source && mkdir -p build/native-source
	cp -r proxy pyproject.toml setup.py README.md LICENSE build/native-source/
	find build/native-source -name '*.so' -delete
	OUTRIDER_COMPILE=1 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		-w $(NATIVE) ./build/native-source
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(NATIVE)/site $(NATIVE)/*.whl
	rm -rf build/native-source
	@touch $@

native-test: $(NATIVE_STAMP) ## integration and parity tests over the native build, and HTTP/2 over its engine
	OUTRIDER_NATIVE=1 $(PYTEST) -n $(JOBS) tests/integration tests/parity tests/unit/codec tests/property/test_codec_http2.py tests/property/test_http2_engines.py $(ARGS)

lint: $(STAMP) ## ruff and the arrows between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

budget: $(STAMP) ## calls per request, cycles, imports at start
	$(PYTEST) tests/budget $(ARGS)

bench: $(if $(shell command -v $${CC:-cc}),$(NATIVE_STAMP),$(STAMP)) ## CPU per request beside Envoy, of the native build too where there is a C compiler: make bench ARGS="--assert"
	$(BIN)/python -m benchmarks $(ARGS)

check: lint types ## lint, types and every test: quick, slow, parity, budget; and the native build's
	$(PYTEST) -n $(JOBS) $(ARGS)
	@if command -v $${CC:-cc} >/dev/null; then $(MAKE) native-test; \
	else echo "native-test: skipped (no C compiler)"; fi

clean: ## everything that can be made again, .venv included
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
