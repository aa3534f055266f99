#!/bin/bash
# make bench-search: time of one proposal after N results, against Optuna's TPE in the same minutes.
# RUNG_BENCH_VENV: a virtual environment with optuna; without it the peer's figures are null.
set -euo pipefail
cmake --preset release -DRUNG_BENCH=ON >/dev/null
cmake --build --preset release --target ask_bench >/dev/null
exec "${RUNG_BENCH_VENV:+$RUNG_BENCH_VENV/bin/}python3" bench/search/peers.py build/release/bench/ask_bench
