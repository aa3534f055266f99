#!/bin/bash
# make bench-service: no-op trials a second, a worker's idle time between trials (against Optuna in the same minutes), and the time until
# the trial of a killed worker runs elsewhere; 1,000 workers at 1,000 calls a second, and what a call costs with 10 to 10,000 stored trials
# (against Optuna); last the time in which a coordinator loads 1e6 trials.
# RUNG_PEERS_VENV: a virtual environment with optuna; without it the peer's figures are null. RUNG_LOAD_SECONDS: of the load, 60.
set -euo pipefail
peer=()
if [ -n "${RUNG_PEERS_VENV:-}" ]; then peer=(--peer-python "$RUNG_PEERS_VENV/bin/python"); fi
failed=0
"${PYTHON:-python3}" bench/service/bench_service.py --bin bin "${peer[@]}" || failed=1
"${PYTHON:-python3}" bench/service/bench_load.py --bin bin --drivers build/release/bench --seconds "${RUNG_LOAD_SECONDS:-60}" "${peer[@]}" ||
  failed=1
for algorithm in hyperband random; do build/release/bench/restart_bench 1000000 $algorithm || failed=1; done
exit $failed
