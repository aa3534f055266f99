# The coordinator of a study alone; its workers are arrays of worker.sh that join and leave at any time. Made by
# `rung slurm submit --elastic`, which puts the #SBATCH lines, the variables of this job and begin.sh above this line. It
# carries no secret: the programs find tokens and certificates in the state directory (0700).
#
# Ends with the coordinator's exit code: 8 if for a while no worker ran or waited in the queue; with 1 if the study failed. A
# coordinator that is killed starts again, three times.
# On the warning before the time limit or a pre-emption the coordinator ends and the job requeues itself; the workers go on
# training meanwhile and come back by themselves.
set -u
umask 077

say "coordinator of $study on $SLURMD_NODENAME, restart ${SLURM_RESTART_COUNT:-0}"

# Tasks of the study's arrays, running or waiting. Where the queue cannot be read there may be some.
workers_queued() {
  local queue
  queue=$(squeue --me --noheader --format="%F") || return 0
  awk 'NR == FNR {if ($2 == "workers") ours[$1]; next} $1 in ours {found = 1} END {exit !found}' "$jobs_file" - <<<"$queue"
}

deaths=0
while :; do
  # USR1: it ends without sending the workers home.
  run_until_asked USR1 "${in_image[@]}" "$programs/rungd" --dir "$state_dir" --listen auto --exit-when-done \
    --lease-ttl "$lease_ttl" --workers-within "${idle_minutes}m"
  [ -z "$ask" ] || break
  # 8: no worker was there. As long as the queue holds some back it waits for them.
  if [ "$code" = 8 ] && workers_queued; then
    say "no worker for $idle_minutes minutes; the queue has some"
  elif [ "$code" -gt 128 ] && [ "$deaths" -lt 3 ]; then
    deaths=$((deaths + 1))
    say "the coordinator was killed ($code); it starts again"
  else
    break
  fi
done
say "the coordinator ended with $code"

case $ask in
  requeue)
    if ! workers_queued; then
      say "no worker is left in the queue, so that nobody would train in the next start: submit the study again"
      exit 8
    fi
    requeue "submit the study again to go on"
    ;;
  stop) exit 143 ;;
esac
# What waits to join would find nobody.
cancel_waiting_workers() {
  local job role
  while read -r job role _; do
    [ "$role" = workers ] && scancel --state=PENDING "$job" 2>/dev/null
  done <"$jobs_file"
}
if [ "$code" = 0 ] && ! over; then
  say "the coordinator was told to end before the study was done; submit the study again to go on"
  exit 143
fi
if [ "$code" = 0 ]; then
  cancel_waiting_workers
  end_with_the_study
elif [ "$code" = 8 ]; then
  say "no worker was here or in the queue for $idle_minutes minutes: resume the study if it is paused, and submit it again"
else
  say "the coordinator failed: see $state_dir/logs/rungd.log"
  [ "$code" = 75 ] || cancel_waiting_workers
fi
exit "$code"
