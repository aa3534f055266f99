#!/bin/bash
# make bench-search: Rung's search under the protocol of bench/search/ against the stored curves of its peers, the time of one proposal
# against HpBandSter's BOHB and Optuna's TPE in the same minutes, and importance beside Optuna's fANOVA.
# What a claim needs, hours: make bench-search SEEDS=0-29 WORKERS=1,8,32
#   RUNG_PEERS_VENV   the environment of the peers; without it their figures are null
#   ALGORITHM         a study file's "algorithm" (JSON)
set -euo pipefail
cmake --build --preset release --target ask_bench importance_driver study_driver >/dev/null
algorithm=${ALGORITHM:-}
if [ -z "$algorithm" ]; then algorithm='{"type": "bohb"}'; fi
python=${RUNG_PEERS_VENV:+$RUNG_PEERS_VENV/bin/}python3
"$python" bench/search/ask_time.py build/release/bench/ask_bench
"$python" bench/search/importance.py build/release/bench/importance_driver
curves=build/release/bench/curves.jsonl
rm -f "$curves"
"$python" bench/search/protocol.py rung --driver build/release/bench/study_driver --algorithm "$algorithm" \
  --functions "${FUNCTIONS:-all}" --seeds "${SEEDS:-0-4}" --workers "${WORKERS:-1}" --out "$curves"
shopt -s nullglob
"$python" bench/search/protocol.py picture build/release/bench/pictures "$curves" bench/search/peers/*.jsonl
echo "pictures: build/release/bench/pictures" >&2
exec "$python" bench/search/protocol.py report "$curves" bench/search/peers/*.jsonl
