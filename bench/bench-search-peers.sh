#!/bin/bash
# make bench-search-peers: the peers' curves, one file a searcher, in bench/search/peers/. A run that is in its file is not made again;
# remove the file to make it anew. SEEDS, WORKERS, FUNCTIONS and PEERS narrow what is run.
set -euo pipefail
mkdir -p bench/search/peers
for peer in ${PEERS:-random hpbandster_hyperband hpbandster_bohb optuna_tpe_hyperband}; do
  "$RUNG_PEERS_VENV/bin/python" bench/search/protocol.py peer "$peer" --functions "${FUNCTIONS:-all}" --seeds "${SEEDS:-0-29}" \
    --workers "${WORKERS:-1,8,32}" --out "bench/search/peers/$peer.jsonl"
done
