# make build   everything a fresh machine needs, then the package itself: .venv/bin/mpcore
#              (MPCORE_DEBUG=1 make build: with bounds checks)
# make test    the tests (as root: those against the real kernel too)
# make soak    many connections through many failures, SOAK=10 times as long as the tests do (root)
# make snapshots   the simulator's table of results, written anew when a change of behaviour is meant
# make lint    style, types, stubs
# make demo    the main jobs, Multipath TCP and then Shim6, measured in a laboratory of namespaces (root)
# make bench   every piece beside its peers: tables, build/bench/results.{json,svg} (a minute or two)
# make clean   forget all of it

.DELETE_ON_ERROR:
.PHONY: build test soak snapshots lint demo bench clean

VENV := .venv/bin
SOURCES := setup.py $(shell find mpcore pyx -name '*.pyx' -o -name '*.pxd' 2>/dev/null)
MODE := $(if $(MPCORE_DEBUG),debug,release)
OTHER := $(if $(MPCORE_DEBUG),release,debug)
ARGS ?=
SOAK ?= 10

# The modules with a stub, by name: a compiled one without has no Python face (a test holds that).
STUBBED = $(subst /,.,$(basename $(shell find mpcore -name '*.pyi' | sort)))

build: .venv/compiled-$(MODE)

.venv/installed: pyproject.toml tools/setup.sh
	@tools/setup.sh
	@touch $@

# Set-up has compiled all modules already and says so by .venv/fresh.
# Objects of the other mode look up to date to the compiler's driver: they have to go first.
.venv/compiled-$(MODE): .venv/installed $(SOURCES)
	@if [ -e .venv/compiled-$(OTHER) ]; then \
		rm -rf build .venv/compiled-$(OTHER); find mpcore -name '*.so' -delete; fi
	@if [ -e .venv/fresh ]; then rm .venv/fresh; else \
		echo "compiling"; tools/build.sh $(VENV)/python setup.py -q build_ext --inplace; fi
	@touch $@

test: build
	$(VENV)/python -m pytest $(ARGS)

soak: build
	MPCORE_SOAK=$(SOAK) $(VENV)/python -m pytest tests/kernel/test_soak.py -v --durations=0 $(ARGS)

snapshots: build
	$(VENV)/python -m pytest -q tests/sim/test_matrix.py --write-snapshots $(ARGS)

# cython-lint looks for pycodestyle on the path.
lint: export PATH := $(CURDIR)/$(VENV):$(PATH)
lint: build
	$(VENV)/ruff check .
	$(VENV)/cython-lint mpcore pyx tests
	$(VENV)/mypy --strict mpcore
	$(VENV)/stubtest --concise --allowlist tools/stubtest-allow.txt $(STUBBED)

demo: build
	@$(VENV)/mpcore demo $(ARGS)
	@$(VENV)/mpcore demo --shim6 $(ARGS)

# What mpcore is compared with; a peer that cannot be had is left out of the tables, and says so.
build/bench/peers: pyproject.toml | build
	@mkdir -p build/bench
	$(VENV)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")' > $@.txt
	@while read -r peer; do $(VENV)/pip install -q "$$peer" || echo "bench: without $$peer"; done < $@.txt
	@touch $@

bench: build build/bench/peers
	$(VENV)/python -m pytest bench -q --benchmark-only --benchmark-quiet --benchmark-json=build/bench/results.json $(ARGS)
	@$(VENV)/python -m bench.report build/bench/results.json build/bench/results.svg

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find mpcore \( -name '*.so' -o -name __pycache__ \) -prune -exec rm -rf {} +
