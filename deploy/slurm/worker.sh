# One worker of a study (or several that share a GPU), a task of a job array; such tasks join and leave at any time. Made by `rung slurm submit
# --elastic` and `rung slurm scale`, which put the #SBATCH lines and the variables of this job above this line. It
# carries no secret: the worker finds its token and certificates in the state directory (0700).
#
# Ends with 0 when the study is done, or when it found no work for a while. Before the time limit and on the warning of a
# pre-emption the worker checkpoints and releases its attempt, then the task requeues itself; USR2 sends it home for
# good (`rung slurm scale`).
set -u
umask 077

task=$SLURM_JOB_ID
if [ -n "${SLURM_ARRAY_JOB_ID:-}" ]; then task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID; fi
say() { echo "$(date -u +%FT%TZ) task $task $*"; }
say "worker of $study on $SLURMD_NODENAME, restart ${SLURM_RESTART_COUNT:-0}"

ask=""  # what was asked from outside: requeue | stop | leave
trap 'ask=requeue' "$warning_signal"
trap 'ask=stop' TERM INT
trap 'ask=leave' USR2

over() { "${in_image[@]}" "$programs/rung" slurm status "$study" --dir "$state_dir" --over; }
if over; then
  say "the study is over: nothing to do"
  exit 0
fi

on_misfit=:
run_workers "slurm-$task" &
worker=$!
wait "$worker"
code=$?
told=""
while [ -n "$ask" ] && kill -0 "$worker" 2>/dev/null; do
  [ -n "$told" ] || kill -TERM "$worker"
  told=yes
  wait "$worker"
  code=$?
done
say "the worker ended with $code${ask:+ ($ask)}"
# 85: it knows when the job ends, and left while there was time for that.
if [ -z "$ask" ] && [ "$code" = 85 ]; then
  ask=requeue
  if [ $SECONDS -lt 60 ]; then
    say "the time limit is too short for one attempt: give the workers more --time"
    exit 1
  fi
fi

case $ask in
  requeue)
    trap 'exit 143' TERM
    scontrol requeue "$task" && { sleep 120 & wait $!; }
    say "the requeue failed; \`rung slurm scale\` brings another worker"
    exit 1
    ;;
  stop) exit 143 ;;
  leave) exit 0 ;;
esac
if [ "$code" != 0 ] && over; then
  say "the study ended meanwhile"
  exit 0
fi
exit "$code"
