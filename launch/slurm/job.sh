# Sourced by the batch scripts beside it: run spq-train, pass on the signal that announces the end of the job, requeue.
# Speaks into the job's log; every line begins with "spq:".
readonly spq_exit_saved=75 # spq-train: stopped by a signal, saved (trainer/stop_signal.h)

spq_say() { echo "spq: $*" >&2; }
spq_fail() {
  spq_say "error: $*"
  exit 1
}

# CONFIG [--set key=value ...]: what a launcher needs to know, or the reason why there is nothing to launch.
spq_prepare() {
  spq_program=${SPQ_TRAIN:-build/release/spq-train}
  [ -n "${SLURM_JOB_ID:-}" ] || spq_fail "not in a Slurm job. Submit this script: sbatch SCRIPT CONFIG [--set key=value ...]"
  [ $# -gt 0 ] || spq_fail "no configuration given. Usage: sbatch SCRIPT CONFIG [--set key=value ...]"
  [ -f "$1" ] || spq_fail "$1: no such configuration, seen from $PWD on $(hostname)"
  [ -x "$spq_program" ] || spq_fail "$spq_program: no such program, seen from $PWD on $(hostname)." \
    "Build it (README.md), or say where it is: SPQ_TRAIN=... sbatch ..."
  [ -n "${SLURM_NTASKS:-}" ] ||
    spq_fail "SLURM_NTASKS is not set. Say how many ranks to start: sbatch --ntasks-per-node=N ..."
  export SPQ_RANKS=$SLURM_NTASKS # rank.sh compares; inside a step SLURM_NTASKS counts something else
  # Cores of the job, not of the node: first, so that a --set of the user's own wins.
  spq_arguments=("$1")
  [ -z "${SLURM_CPUS_PER_TASK:-}" ] || spq_arguments+=(--set "compute.threads=$SLURM_CPUS_PER_TASK")
  shift
  spq_arguments+=("$@")
  spq_say "job $SLURM_JOB_ID, start $((${SLURM_RESTART_COUNT:-0} + 1)):" \
    "$SLURM_NTASKS ranks on ${SLURM_JOB_NUM_NODES:-1} node(s), ${SLURM_JOB_NODELIST:-}"
}

# Ranks started by Slurm.
spq_with_srun() {
  spq_prepare "$@"
  local mpi=${SPQ_MPI:-pmix}
  srun --mpi=list 2>&1 | grep -qw "$mpi" ||
    spq_fail "this Slurm cannot do --mpi=$mpi ('srun --mpi=list' shows what it can). Use the mpirun variant of this script."
  local launcher=(srun
    --mpi="$mpi"         # Open MPI learns rank and world size from PMIx
    --cpu-bind=cores     # each rank keeps to cores of its own, near its memory
    --kill-on-bad-exit=0 # ranks that saved end with 75, not all at the same moment: that is no reason to kill the rest
    --wait=60)           # but a rank that is gone for a minute was killed: end the others too
  [ -z "${SLURM_CPUS_PER_TASK:-}" ] || launcher+=(--cpus-per-task="$SLURM_CPUS_PER_TASK") # srun does not inherit it
  spq_run "${launcher[@]}" bash launch/slurm/rank.sh "$spq_program" "${spq_arguments[@]}"
}

# Ranks started by Open MPI, which asks Slurm for the nodes and starts one daemon on each other node through srun.
spq_with_mpirun() {
  spq_prepare "$@"
  command -v mpirun >/dev/null ||
    spq_fail "no mpirun on $(hostname). Load the module of your Open MPI before sbatch, or use the srun variant of this script."
  # mpirun gives up a node after 60 s without a sign and 6 questions, 10 s apart. With Open MPI's own 300 s and 180 s, and a
  # compute.collective_timeout below that, the ranks end first and mpirun goes on waiting for the lost node.
  export OMPI_MCA_oob_tcp_keepalive_time=${OMPI_MCA_oob_tcp_keepalive_time:-60}
  export OMPI_MCA_oob_tcp_keepalive_intvl=${OMPI_MCA_oob_tcp_keepalive_intvl:-10}
  export OMPI_MCA_oob_tcp_keepalive_probes=${OMPI_MCA_oob_tcp_keepalive_probes:-6}
  local launcher=(mpirun
    -np "$SLURM_NTASKS" # mapped to the nodes as Slurm has laid out the tasks
    --bind-to none      # ranks share the cores of the job; compute.threads keeps them from using the same ones
    -x SPQ_RANKS)       # to ranks on other nodes too, however mpirun's daemons came there
  spq_run "${launcher[@]}" bash launch/slurm/rank.sh "$spq_program" "${spq_arguments[@]}"
}

# COMMAND...: runs it in the background, because bash runs traps only between foreground commands.
spq_run() {
  local interrupted status ending=no
  "$@" &
  local child=$!
  # spq-train takes SIGUSR1 and SIGTERM alike: finish the step, save, end. Launchers pass on the first and leave it at that.
  trap 'interrupted=yes; spq_say "SIGUSR1: asking the ranks to save"; kill -USR1 "$child" 2>/dev/null || true' USR1
  trap 'interrupted=yes; ending=yes; spq_say "SIGTERM: Slurm ends the job"; kill -USR1 "$child" 2>/dev/null || true' TERM
  while :; do
    interrupted=no
    wait "$child" && status=0 || status=$?
    # Above 128 after a signal: the trap has ended the wait, not the program.
    if [ "$interrupted" = no ] || [ "$status" -le 128 ]; then break; fi
  done
  trap '' USR1 # one more changes nothing now
  trap - TERM
  case $status in
  0) spq_say "finished" ;;
  "$spq_exit_saved") spq_requeue ;;
  *)
    [ "$ending" = no ] ||
      spq_fail "ended by Slurm (launcher's status $status). The same sbatch goes on from the newest checkpoint."
    spq_fail "the launcher ended with status $status, the reason is above. Not requeued; the same sbatch goes on from the" \
      "newest checkpoint."
    ;;
  esac
}

# After a save: into the queue again, unless the job is ending for a reason of its own (cancelled, time limit).
spq_requeue() {
  local state
  state=$(squeue -h -j "$SLURM_JOB_ID" -o %T 2>/dev/null || true)
  if [ "$state" != RUNNING ]; then
    spq_say "saved; not requeued, because Slurm says the job is ${state:-gone}. The same sbatch goes on from there."
    exit "$spq_exit_saved"
  fi
  spq_say "saved; back into the queue, to go on from there"
  scontrol requeue "$SLURM_JOB_ID" || {
    spq_say "error: Slurm does not requeue this job (was --no-requeue given?). Submit it again: it goes on from the newest" \
      "checkpoint."
    exit "$spq_exit_saved"
  }
  sleep 60 # Slurm ends this script meanwhile
}
