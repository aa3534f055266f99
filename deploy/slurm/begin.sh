# What every job of Rung begins with: `rung slurm submit` puts it between the variables of a job and what the job does.

# By which Slurm knows this job, or this task of an array.
job_id=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}
say() { echo "$(date -u +%FT%TZ) job $job_id $*"; }

# The shell of a job may lack the function `module`, which a login shell has from the site's profile.
if ! type module >/dev/null 2>&1 && [ -r "${MODULESHOME:-}/init/bash" ]; then . "$MODULESHOME/init/bash"; fi
load_module() {
  module load "$1" && return
  echo "the module $1 does not load on $SLURMD_NODENAME: correct MODULES in cluster.env"
  exit 1
}

# What stands before a program of Rung: nothing, or the image that it runs in.
in_image=()
if [ -n "$image" ]; then
  in_image=(apptainer exec --bind "$state_dir" --bind "$programs")
  [ "$gpus_per_worker" = 0 ] || in_image+=(--nv)
  in_image+=("$image")
  # The image has none of Slurm's programs, which a worker would ask for this.
  if [ -z "${SLURM_JOB_END_TIME:-}" ]; then
    end=$(squeue --noheader --jobs="$job_id" --format=%e)
    end=$(date --date="${end:-none}" +%s 2>/dev/null) && export SLURM_JOB_END_TIME=$end
  fi
fi

# wait_for PID: to its end, of which `code` tells, whatever signals come meanwhile.
wait_for() {
  while :; do
    wait "$1"
    kill -0 "$1" 2>/dev/null || break  # it was the signal that ended the wait
  done
  wait "$1"; code=$?  # which the shell remembers
}

# hear_signals [ANSWER]: from now on `ask` is what was asked from outside: requeue (the warning before the time limit or a
# pre-emption), stop (TERM), or ANSWER (USR2).
hear_signals() {
  ask="" child=""
  trap 'asked requeue' "$warning_signal"
  trap 'asked stop' TERM INT
  [ -z "${1:-}" ] || trap "asked $1" USR2
}
asked() {
  ask=$1
  [ -z "$child" ] || [ -n "$told" ] || { told=yes; kill "-$passed_on" "$child"; }
}
# run_until_asked SIGNAL COMMAND...: to its end, of which `code` tells. It gets SIGNAL, once, when something is asked.
run_until_asked() {
  passed_on=$1 told=""
  shift
  "$@" &
  child=$!
  [ -z "$ask" ] || asked "$ask"  # before there was anybody to tell
  wait_for "$child"
  child=""
}

# Of workers that ended with 85: they know when the job ends, and left while there was time for that. False if they had not
# even a minute: queued again they would have no more.
left_for_the_limit() {
  ask=requeue
  [ $SECONDS -lt 60 ] || return 0
  say "the time limit is too short for one attempt: give the $1 more --time"
  return 1
}

# requeue MEND: queues this job again, and ends it.
requeue() {
  # Exit 0 before the requeue took effect would count as completed; its TERM says that it did.
  trap 'exit 143' TERM
  scontrol requeue "$job_id" && { sleep 120 & wait $!; }
  say "the requeue failed; $1"
  exit 1
}

over() { "${in_image[@]}" "$programs/rung" slurm status "$study" --dir "$state_dir" --over; }
# "STUDY is paused: ...; trials: ..."
study_state() { "${in_image[@]}" "$programs/rung" slurm status "$study" --dir "$state_dir" 2>/dev/null | head -n 1; }
# Ends a job whose study is over: with 0, or with 1 if no trial got a score.
end_with_the_study() {
  local state
  state=$(study_state)
  case $state in
    "$study is failed"*)
      say "$state"
      exit 1
      ;;
  esac
  exit 0
}

# run_workers SLOT: the workers that share the GPUs of this task, until the last one ends; ends with the worst of their
# codes. Each looks whether it has exactly these GPUs, and ends with 5 if not. TERM lets them checkpoint.
run_workers() {
  local slot=$1 place pid code worst=0 pids=() flags
  trap 'kill -TERM "${pids[@]}" 2>/dev/null' TERM INT USR1
  for place in $(seq "$trials_per_gpu"); do
    [ "$trials_per_gpu" = 1 ] || slot=$1.$place
    flags=(--dir "$state_dir" --slot "$slot" --exit-when-done --idle-exit "${idle_minutes}m" --endpoint-wait "${idle_minutes}m"
      --leave-margin "${leave_seconds}s")
    [ "$gpus_per_worker" = 0 ] || flags+=(--gpus "$gpus_per_worker" --trials-per-gpu "$trials_per_gpu")
    "${in_image[@]}" "$programs/rung-worker" "${flags[@]}" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait_for "$pid"
    [ "$code" != 5 ] || $on_misfit
    [ "$code" -le "$worst" ] || worst=$code
  done
  return "$worst"
}
