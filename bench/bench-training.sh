#!/bin/bash
# make bench-training: examples trained, and tokens read, per CPU second against Hugging Face, in the same minutes: on SST-2 where
# RUNG_TEST_DATA has it, else on the demo's e-mails.
set -euo pipefail
data=${RUNG_TEST_DATA:-}/sst2-train.tsv
if [ ! -e "$data" ]; then
  data=$RUNG_TEST_SPAM/train.csv
  echo "bench-training: RUNG_TEST_DATA has no sst2-train.tsv (sentence TAB label); training on the demo's e-mails" >&2
fi
cmake --build --preset release --target tokenize_bench >/dev/null
"${PYTHON:-python3}" bench/training/bench_tokenizers.py --program build/release/bench/tokenize_bench --model "$RUNG_TEST_MODEL" --data "$data"
exec "${PYTHON:-python3}" bench/training/bench_training.py --trainer bin/rung-trainer --model "$RUNG_TEST_MODEL" --data "$data"
