# One job = one coordinator and one worker per task, on any number of nodes. Made by `rung slurm submit`, which puts the
# #SBATCH lines, the variables of this job and begin.sh above this line. It carries no secret: the programs find tokens and
# certificates in the state directory (0700), whose address is all they are told.
#
# Ends with the coordinator's exit code, and with 1 if the study failed. On the warning before the time limit or a
# pre-emption the workers checkpoint and release their attempts; the job requeues itself, or lets the one that follows it
# go on where it was.
set -u
umask 077
# Limits that sbatch leaves here would contradict those of the steps, and a site's --export=NONE would strip them of what SETUP set.
export SLURM_EXPORT_ENV=ALL
unset SLURM_CPU_BIND SLURM_MEM_PER_CPU SLURM_MEM_PER_GPU SLURM_MEM_PER_NODE SLURM_GPUS_PER_TASK SLURM_TRES_PER_TASK

say "start on $SLURM_JOB_NODELIST, restart ${SLURM_RESTART_COUNT:-0}"

# Steps tell their end through a pipe: waiting for children cannot miss one that ended between two looks.
exec 3<> <(:)

coordinator_code=""
workers_code=""
heard=""  # of a line that has not come to its end
# next_event SECONDS: takes in the next end of a step; false if none came in that time or something was asked.
next_event() {
  local part who code end=$((SECONDS + $1)) asked=$ask
  while [ $SECONDS -lt $end ] && [ "$ask" = "$asked" ]; do
    # The time may be up in the middle of a line.
    if IFS= read -r -t 1 part <&3; then
      read -r who code <<<"$heard$part"
      heard=""
      if [ "$who" = coordinator ]; then coordinator_code=$code; else workers_code=$code; fi
      say "$who ended with $code"
      return 0
    fi
    heard+=$part
  done
  return 1
}
# TERM to the processes of one step. `kill` of its srun would have them killed at once.
terminate() {
  local step
  step=$(squeue --steps --noheader --jobs="$SLURM_JOB_ID" --format="%i %j" | awk -v name="rung-$1" '$2 == name {print $1}')
  [ -z "$step" ] || scancel --signal=TERM "$step" 2>/dev/null  # it may have ended meanwhile
}
# Bounded, because the srun of a dead node never returns. Said again and again: a step may only come to be, or the controller be away.
stop_workers() {
  local end=$((SECONDS + drain_seconds))
  while [ -z "$workers_code" ] && [ $SECONDS -lt $end ]; do terminate worker; next_event 5; done
}
stop_coordinator() {
  local end=$((SECONDS + 30))
  while [ -z "$coordinator_code" ] && [ $SECONDS -lt $end ]; do terminate coordinator; next_event 5; done
}

# Jobs that were submitted to follow this one (--chain), or that it submitted (--until-done), and still wait.
followers() {
  squeue --me --noheader --states=PENDING --format="%A" 2>/dev/null |
    awk -v me="$SLURM_JOB_ID" 'NR == FNR {if ($2 == "job" && $1 != me) ours[$1]; next} $1 in ours' "$jobs_file" - 2>/dev/null
}
cancel_followers() {
  local job
  for job in $(followers); do
    say "job $job is not needed any more"
    scancel "$job" 2>/dev/null
  done
}
# The next job, with the variables that this one was submitted with: not what Slurm told it, nor what SETUP set, which may be
# secret. Where nodes may not submit, the job requeues itself at its limit.
submit_successor() {
  local name next clean=(env) submitted
  submitted=" $(tr '\0' '\n' <"/proc/$$/environ" | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p' | tr '\n' ' ')"
  for name in $(compgen -e); do
    case $name in
      SLURM_CONF) continue ;;
      SLURM_* | SLURMD_* | SBATCH_* | SRUN_* | CUDA_VISIBLE_DEVICES | GPU_DEVICE_ORDINAL | ROCR_VISIBLE_DEVICES) ;;
      *) [[ $submitted != *" $name "* ]] || continue ;;
    esac
    clean+=(-u "$name")
  done
  if next=$(timeout 60 "${clean[@]}" sbatch --parsable --dependency="afterany:$SLURM_JOB_ID" "$state_dir/slurm/$study.sh"); then
    successor=${next%%;*}
    echo "$successor job $((workers * trials_per_gpu))" >>"$jobs_file"
    say "job $successor goes on when this one ends"
    [ "$ask" != stop ] || scancel "$successor"  # whoever cancelled the study could not know of it
  else
    say "no job can be submitted from here"
  fi
}
successor=""
# Would the jobs that follow fail as this one did? Those that submit each other would do so without end.
failed_soon() {
  if [ "$after_limit" = successor ]; then [ $SECONDS -lt 600 ]; else [ $SECONDS -lt 60 ]; fi
}
preempted() { scontrol --oneliner show job "$SLURM_JOB_ID" | grep -q " PreemptTime=[0-9]"; }
gpu_flags=() no_gpu_flags=()
if [ "$gpus_per_worker" -gt 0 ]; then
  # The number alone: with a type, srun gives the tasks no device (seen in 22.05); the job has those of its type.
  gpu_flags=(--gpus-per-task="$gpus_per_worker")
  no_gpu_flags=(--gres=none --gpus-per-task=0)
fi

# The coordinator shares its node's resources with the workers and takes no GPU.
start_coordinator() {
  srun --overlap --nodes=1 --ntasks=1 --cpus-per-task=1 --mem=0 "${no_gpu_flags[@]}" --nodelist="$SLURMD_NODENAME" \
    --job-name=rung-coordinator --open-mode=append --output="$state_dir/logs/slurm-$SLURM_JOB_ID-coordinator.log" \
    "${in_image[@]}" "$programs/rungd" --dir "$state_dir" --listen auto --exit-when-done --lease-ttl "$lease_ttl"
  echo "coordinator $?" >&3
}

# The workers wait for the coordinator's endpoint.json themselves, for a bounded time. --exact: without it the first step
# takes everything. A signal to the step reaches the workers, or the shell of their task hands it on.
on_misfit="scancel --batch --signal=USR2 $SLURM_JOB_ID"
task=$(declare -p state_dir programs in_image gpus_per_worker trials_per_gpu idle_minutes leave_seconds on_misfit)
task+=$'\n'$(declare -f wait_for run_workers)$'\n''run_workers "$SLURM_PROCID"'
start_workers() {
  srun --exact --ntasks="$workers" --cpus-per-task="$cpus_per_task" --mem=0 "${gpu_flags[@]}" --kill-on-bad-exit=0 \
    --wait=0 --job-name=rung-worker --open-mode=append --output="$state_dir/logs/slurm-$SLURM_JOB_ID-worker-%t.log" \
    bash -c "$task"
  echo "workers $?" >&3
}

if [ -z "$ask" ]; then
  start_coordinator &
  start_workers &
else
  coordinator_code=none workers_code=none  # asked while the modules loaded
fi
workers_began=$SECONDS
if [ -z "$ask" ] && [ "$after_limit" = successor ] && [ -z "$(followers)" ]; then submit_successor; fi
while [ -z "$ask" ] && [ -z "$coordinator_code" ] && [ -z "$workers_code" ]; do next_event 3600; done

if [ -z "$ask" ] && [ -z "$coordinator_code" ] && [ "$workers_code" = 85 ]; then
  if ! worth_a_requeue job; then
    cancel_followers  # they have no more time
    stop_coordinator
    exit 1
  fi
  ask=requeue
fi

# Before a pre-emption with grace Slurm asks the steps to end, and not this script: they end well, with the study not done.
if [ -z "$ask" ] && preempted && ! over; then
  say "this job is pre-empted"
  ask=requeue
fi

case $ask in
  requeue)
    say "asked to leave: workers checkpoint and release"
    stop_workers
    stop_coordinator
    next=$(followers | head -n 1)
    if [ "$after_limit" != requeue ] && [ -n "$next" ]; then
      say "job $next goes on"
      exit 0
    fi
    requeue "submit the study again to go on"
    ;;
  stop)
    stop_workers
    stop_coordinator
    exit 143
    ;;
  misfit)
    say "a worker cannot work here (has it its GPUs?): see $state_dir/logs/slurm-$SLURM_JOB_ID-worker-*.log"
    cancel_followers
    stop_workers
    stop_coordinator
    exit 1
    ;;
esac

if [ -z "$coordinator_code" ]; then
  # When all studies are done the coordinator is about to end as well. The code of the workers' srun does not say so where
  # Slurm saw a trainer run out of memory.
  if over; then next_event 120; fi
  if [ -z "$coordinator_code" ]; then
    state=$(study_state)
    say "$state"
    if [ "$workers_code" = 0 ]; then
      say "the workers left: no work for $idle_minutes minutes, or they were told to. Submit the study again to go on"
      # Nor will the jobs that were to follow find any; one that is paused waits for somebody who resumes it.
      [ "$after_limit" != successor ] || cancel_followers
      case $state in "$study is paused"*) cancel_followers ;; esac
    else
      say "no worker is left: see $state_dir/logs/slurm-$SLURM_JOB_ID-worker-*.log"
      # Those that cannot start here would not in the next job either.
      if failed_soon; then cancel_followers; fi
    fi
    stop_coordinator
    exit 1
  fi
fi
# They hear from the coordinator that all is done; those of one that died are asked to leave.
[ "$coordinator_code" = 0 ] && [ -z "$workers_code" ] && next_event 15
stop_workers
if [ "$coordinator_code" = 0 ] && ! over; then
  say "the coordinator was told to end before the study was done; submit the study again to go on"
  exit 143
fi
if [ "$coordinator_code" = 0 ]; then
  cancel_followers
  end_with_the_study
fi
if [ "$coordinator_code" = 75 ]; then
  [ -z "$successor" ] || scancel "$successor"  # another job serves the study, and has its own
elif failed_soon; then
  cancel_followers
fi
say "the coordinator failed: see $state_dir/logs/slurm-$SLURM_JOB_ID-coordinator.log and $state_dir/logs/rungd.log"
exit "$coordinator_code"
