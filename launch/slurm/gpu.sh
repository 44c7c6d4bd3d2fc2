# Sourced by the batch scripts: settings of CUDA and NCCL. They take effect once spq-train is built with CUDA, which it is not
# yet; nothing here has been tried on GPUs. A value of your own, exported before sbatch, wins.

# Number the GPUs by their place on the bus: the same on every node, and as nvidia-smi does.
export CUDA_DEVICE_ORDER=${CUDA_DEVICE_ORDER:-PCI_BUS_ID}

# Problems only. INFO shows which rings and networks NCCL has chosen: the first thing to look at when gathers are slow.
export NCCL_DEBUG=${NCCL_DEBUG:-WARN}

if [ "${SLURM_JOB_NUM_NODES:-1}" -gt 1 ]; then
  # Interfaces for NCCL's first contact between nodes (and for all data where there is no InfiniBand). Not the loopback, and not
  # the bridge of containers, which exists on every node under the same address.
  export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-^lo,docker}
  # Which InfiniBand adapters carry data; all of them when unset. Name them where some belong to storage, for example:
  # export NCCL_IB_HCA=mlx5_0,mlx5_1,mlx5_2,mlx5_3
  # How long an InfiniBand adapter waits for an answer, 4.096 us * 2^22 = 17 s, before it tries again: large fabrics need more
  # than NCCL's own value of 20 (4 s) while a switch changes routes.
  export NCCL_IB_TIMEOUT=${NCCL_IB_TIMEOUT:-22}
fi
