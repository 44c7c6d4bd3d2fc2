#!/usr/bin/env bash
# PROGRAM ARGUMENTS...: one rank. Checks that the launcher has started as many ranks as the job has tasks and that MPI will know
# about them, takes a GPU, then becomes the program. Rank 0 speaks for all.
set -euo pipefail

if [ -n "${OMPI_COMM_WORLD_SIZE:-}" ]; then
  launcher=mpirun world=$OMPI_COMM_WORLD_SIZE rank=$OMPI_COMM_WORLD_RANK local_rank=$OMPI_COMM_WORLD_LOCAL_RANK
elif [ -n "${SLURM_STEP_NUM_TASKS:-}" ]; then
  launcher=srun world=$SLURM_STEP_NUM_TASKS rank=$SLURM_PROCID local_rank=$SLURM_LOCALID
else
  launcher="no launcher" world=1 rank=0 local_rank=0
fi

refuse() {
  [ "$rank" -ne 0 ] || echo "spq: error: $*" >&2
  exit 1
}

expected=${SPQ_RANKS:-${SLURM_NTASKS:-$world}}
[ "$world" -eq "$expected" ] || refuse "$launcher started $world rank(s), the Slurm job has $expected tasks (SLURM_NTASKS)." \
  "Start all of them: srun --mpi=pmix, or mpirun -np $expected."

# Without PMIx every rank of srun would take itself for the only one. PMI2 does where Open MPI was built for it.
if [ "$launcher" = srun ] && [ "$world" -gt 1 ] && [ -z "${PMIX_RANK:-}" ]; then
  if [ -z "${PMI_RANK:-}" ]; then
    refuse "srun started $world ranks without telling MPI, so each would take itself for the only one." \
      "Use srun --mpi=pmix, or the mpirun variant."
  elif ! ompi_info 2>/dev/null | grep -Eq 'MCA pmix: s[12] '; then
    refuse "srun speaks PMI2 (--mpi=pmi2), which this Open MPI was not built for ('ompi_info | grep pmix' lists what it can)." \
      "Use srun --mpi=pmix, or the mpirun variant."
  fi
fi

# Of the node's GPUs, the one with this rank's number on the node. It takes effect once spq-train is built with CUDA.
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
  IFS=, read -r -a devices <<<"$CUDA_VISIBLE_DEVICES"
  export CUDA_VISIBLE_DEVICES=${devices[local_rank % ${#devices[@]}]}
fi
exec "$@"
