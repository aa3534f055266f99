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

can_read() {
  [ -r "$1" ] && return
  echo "the script $1 cannot be read on $SLURMD_NODENAME: correct SETUP in cluster.env"
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

# What was asked from outside: requeue (the warning before the time limit or a pre-emption), stop (TERM), or what USR2 says to
# this job. It is heard from here on, also while modules load.
ask="" child=""
asked() {
  ask=$1
  [ -z "$child" ] || [ -n "$told" ] || { told=yes; kill "-$passed_on" "$child"; }
}
trap 'asked requeue' "$warning_signal"
trap 'asked stop' TERM INT
[ -z "$usr2" ] || trap 'asked "$usr2"' USR2
# Tells PID SIGNAL if this script is killed: Slurm may have lost sight of what a dead script had started.
end_with_this() {
  local never
  exec {never}<> <(:)
  while kill -0 $$ 2>/dev/null; do read -rt 2 -u "$never"; done
  kill "-$2" "$1"
}
# run_until_asked SIGNAL COMMAND...: to its end, of which `code` tells. It gets SIGNAL, once, when something is asked.
run_until_asked() {
  local watcher
  passed_on=$1 told=""
  shift
  "$@" &
  child=$!
  end_with_this "$child" "$passed_on" &
  watcher=$!
  [ -z "$ask" ] || asked "$ask"  # before there was anybody to tell
  wait_for "$child"
  child=""
  { kill "$watcher" && wait "$watcher"; } 2>/dev/null
}

# Of workers that ended with 85: they know when the job ends, and left while there was time for that. Says so and is false if they
# found no time for an attempt when they came: queued again they would have no more. (With time for one they stay 30 s.)
worth_a_requeue() {
  [ $((SECONDS - workers_began)) -lt 30 ] || return 0
  say "the time limit is too short for one attempt: workers leave $leave_seconds s before the end (WARNING_SECONDS + 60). Give the $1 more --time"
  return 1
}

# requeue MEND: queues this job again, and ends it.
requeue() {
  # Exit 0 before the requeue took effect would count as completed; its TERM says that it did.
  trap 'exit 143' TERM
  local end=$((SECONDS + 60))
  until scontrol requeue "$job_id"; do  # the controller may be away for a moment
    [ $SECONDS -lt $end ] || { say "the requeue failed; $1"; exit 1; }
    sleep 5 & wait $!
  done
  end=$((SECONDS + 120))
  while [ $SECONDS -lt $end ]; do sleep 120 & wait $!; done  # Slurm's TERM may reach the sleep first
  say "the requeue did not end this job; $1"
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
  local slot=$1 place pid code worst=0 pids=() leave="" flags
  trap 'leave=yes; kill -TERM "${pids[@]}" 2>/dev/null' TERM INT USR1
  for place in $(seq "$trials_per_gpu"); do
    [ "$trials_per_gpu" = 1 ] || slot=$1.$place
    flags=(--dir "$state_dir" --slot "$slot" --exit-when-done --idle-exit "${idle_minutes}m" --endpoint-wait "${idle_minutes}m"
      --leave-margin "${leave_seconds}s")
    # A job without GPUs may see those of others, where the site does not constrain devices.
    if [ "$gpus_per_worker" = 0 ]; then flags+=(--device cpu); else flags+=(--gpus "$gpus_per_worker" --trials-per-gpu "$trials_per_gpu"); fi
    "${in_image[@]}" "$programs/rung-worker" "${flags[@]}" &
    pids+=($!)
    [ -z "$leave" ] || kill -TERM "$!"  # asked before there was anybody to tell
  done
  for pid in "${pids[@]}"; do
    wait_for "$pid"
    [ "$code" != 5 ] || $on_misfit
    [ "$code" -le "$worst" ] || worst=$code
  done
  return "$worst"
}
