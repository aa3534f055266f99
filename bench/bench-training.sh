#!/bin/bash
# make bench-training: examples per CPU second against Hugging Face on SST-2, in the same minutes.
set -euo pipefail
data=${RUNG_TEST_DATA:-}
if [ -z "$data" ] || [ ! -e "$data/sst2-train.tsv" ]; then
  echo "bench-training: set RUNG_TEST_DATA to a directory with sst2-train.tsv (sentence TAB label)" >&2
  exit 1
fi
python=${PYTHON:-python3}
# The peer's Trainer needs it, nothing else here does.
"$python" -c 'import accelerate' 2>/dev/null || "$python" -m pip install -q accelerate
exec "$python" bench/training/bench_training.py --trainer bin/rung-trainer --model "$RUNG_TEST_MODEL" --data "$data/sst2-train.tsv"
