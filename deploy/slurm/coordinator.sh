# The coordinator of a study alone; its workers are arrays of worker.sh that join and leave at any time. Made by
# `rung slurm submit --elastic`, which puts the #SBATCH lines and the variables of this job above this line. It carries
# no secret: the programs find tokens and certificates in the state directory (0700).
#
# Ends with the coordinator's exit code. On the warning before the time limit or a pre-emption (USR1) the coordinator
# ends and the job requeues itself; the workers go on training meanwhile and come back by themselves.
set -u
umask 077

say() { echo "$(date -u +%FT%TZ) job $SLURM_JOB_ID $*"; }
say "coordinator of $study on $SLURMD_NODENAME, restart ${SLURM_RESTART_COUNT:-0}"

ask=""  # what was asked from outside: requeue | stop
trap 'ask=requeue' USR1
trap 'ask=stop' TERM INT

"$programs/rungd" --dir "$state_dir" --listen auto --exit-when-done --lease-ttl "$lease_ttl" &
coordinator=$!
wait "$coordinator"
code=$?
told=""
while [ -n "$ask" ] && kill -0 "$coordinator" 2>/dev/null; do
  # USR1: it ends without sending the workers home.
  [ -n "$told" ] || kill -USR1 "$coordinator"
  told=yes
  wait "$coordinator"
  code=$?
done
say "the coordinator ended with $code"

case $ask in
  requeue)
    # Exit 0 before the requeue took effect would count as completed; its TERM says that it did.
    trap 'exit 143' TERM
    scontrol requeue "$SLURM_JOB_ID" && { sleep 120 & wait $!; }
    say "the requeue failed; submit the study again to go on"
    exit 1
    ;;
  stop) exit 143 ;;
esac
if [ "$code" = 0 ]; then
  # What waits to join would find nothing to do.
  while read -r job role; do
    [ "$role" = workers ] && scancel --state=PENDING "$job" 2>/dev/null
  done <"$state_dir/slurm/$study.jobs"
else
  say "the coordinator failed: see $state_dir/logs/rungd.log"
fi
exit "$code"
