# Sourced by the scripts: how Open MPI is to behave on one small machine.
if [ "$(id -u)" -eq 0 ]; then # containers run as root, which Open MPI wants confirmed
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
export OMPI_MCA_mpi_yield_when_idle=1 # ranks that wait leave the core to those that compute
mpi_options=(--oversubscribe --bind-to none)
