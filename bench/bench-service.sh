#!/bin/bash
# make bench-service: no-op trials a second and a worker's idle time between trials, against Optuna in the same minutes.
# RUNG_BENCH_VENV: a virtual environment with optuna; without it the peer's figures are null.
set -euo pipefail
peer=()
if [ -n "${RUNG_BENCH_VENV:-}" ]; then peer=(--peer-python "$RUNG_BENCH_VENV/bin/python"); fi
exec "${PYTHON:-python3}" bench/service/bench_service.py --bin bin "${peer[@]}"
