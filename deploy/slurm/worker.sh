# One worker of a study (or several that share a GPU), a task of a job array; such tasks join and leave at any time. Made by
# `rung slurm submit --elastic` and `rung slurm scale`, which put the #SBATCH lines, the variables of this job and begin.sh
# above this line. It carries no secret: the worker finds its token and certificates in the state directory (0700).
#
# Ends with 0 when the study is over, or when it found no work for a while. Before the time limit and on the warning of a
# pre-emption the worker checkpoints and releases its attempt, then the task requeues itself; USR2 sends it home for
# good (`rung slurm scale`).
set -u
umask 077

say "worker of $study on $SLURMD_NODENAME, restart ${SLURM_RESTART_COUNT:-0}"

if over; then
  say "the study is over: nothing to do"
  exit 0
fi

on_misfit=:
workers_began=$SECONDS
run_until_asked TERM run_workers "slurm-$job_id"
say "the worker ended with $code${ask:+ ($ask)}"
if [ -z "$ask" ] && [ "$code" = 85 ]; then
  worth_a_requeue workers || exit 1
  ask=requeue
fi

case $ask in
  requeue) requeue "\`rung slurm scale\` brings another worker" ;;
  stop) exit 143 ;;
  leave) exit 0 ;;
esac
if [ "$code" != 0 ] && over; then
  say "the study ended meanwhile"
  exit 0
fi
exit "$code"
