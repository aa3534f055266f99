#!/bin/bash
# make bench-training: rung-trainer against the Python stacks that it replaces, in the same minutes: rows trained and evaluated per CPU second,
# start, memory (bench_training.py), accuracy after each epoch (bench_accuracy.py), tokens read (bench_tokenizers.py), a whole study (bench_job.py).
# About an hour.
#   RUNG_TEST_DATA   a directory with sst2-train.tsv and sst2-dev.tsv; without it the tokenizers and the e-mails are measured, exit 3
#   RUNG_PEERS_VENV  the environment with HpBandSter; without it the whole study is not measured
#   CASES, PEERS, ROUNDS   for bench_training.py (default: all, all, 1)
set -euo pipefail
python=${PYTHON:-python3}
sst2=${RUNG_TEST_DATA:-}
cases=(${CASES:-minilm_sst2 tinybert4_sst2 bert3_sst2 minilm_spam minilm_sst2_radam minilm_sst2_adam minilm_sst2_sgd minilm_sst2_bf16 bert3_sst2_bf16})
code=0
if [ ! -e "$sst2/sst2-train.tsv" ]; then
  echo "bench-training: SKIPPED the cases on SST-2: RUNG_TEST_DATA has no sst2-train.tsv (sentence TAB label)" >&2
  cases=(minilm_spam)
  code=3
fi
cmake --build --preset release --target tokenize_bench >/dev/null
data=$RUNG_TEST_SPAM/train.csv
if [ $code = 0 ]; then data=$sst2/sst2-train.tsv; fi
"$python" bench/training/bench_tokenizers.py --program build/release/bench/tokenize_bench --model "$RUNG_TEST_MODEL" --data "$data"
"$python" bench/training/bench_training.py --trainer bin/rung-trainer --model "$RUNG_TEST_MODEL" --sst2 "$sst2" --mails "$RUNG_TEST_MAILS" \
  --cases "${cases[@]}" ${PEERS:+--peers $PEERS} --rounds "${ROUNDS:-1}"
if [ $code = 0 ]; then
  "$python" bench/training/bench_accuracy.py --trainer bin/rung-trainer --model "$RUNG_TEST_MODEL" --sst2 "$sst2"
  if [ -n "${RUNG_PEERS_VENV:-}" ]; then
    "$python" bench/training/bench_job.py --bin bin --model "$RUNG_TEST_MODEL" --sst2 "$sst2" \
      --peers-site "$(echo "$RUNG_PEERS_VENV"/lib/python3*/site-packages)"
  fi
fi
exit $code
