#!/bin/bash
# make bench-search: time of one proposal after N results, against HpBandSter's BOHB and Optuna's TPE in the same minutes.
# RUNG_PEERS_VENV: a virtual environment with both; without it the peers' figures are null.
set -euo pipefail
cmake --preset release -DRUNG_BENCH=ON >/dev/null
cmake --build --preset release --target ask_bench >/dev/null
exec "${RUNG_PEERS_VENV:+$RUNG_PEERS_VENV/bin/}python3" bench/search/ask_time.py build/release/bench/ask_bench
