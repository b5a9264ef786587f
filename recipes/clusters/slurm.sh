#!/bin/bash
# sbatch recipes/clusters/slurm.sh recipes/language_modeling.py --output_dir outputs/lm --checkpointing_steps 500
# Submit it again and the run goes on from its last checkpoint. Not run yet on a cluster: none was at hand; a long test
# runs it on one machine with stand-ins for SLURM's own commands.
#SBATCH --job-name=seqnlp
#SBATCH --nodes=2                 # machines
#SBATCH --ntasks-per-node=1       # one launcher on each, which starts a process for each GPU
#SBATCH --gpus-per-node=8         # GPUs of a machine
#SBATCH --cpus-per-task=64        # cores of a machine
#SBATCH --time=24:00:00           # SLURM ends the job then
#SBATCH --signal=USR1@300         # and warns five minutes before: the run writes a checkpoint and ends
#SBATCH --output=%x-%j.out        # name and number of the job
#SBATCH --requeue                 # start again when a machine fails
set -euo pipefail

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
gpus=${SLURM_GPUS_ON_NODE:-8}

# Each machine's own number is known only where srun has started the launcher.
export first gpus
srun --kill-on-bad-exit=1 bash -c \
  'bash recipes/clusters/node.sh "$SLURM_NODEID" "$SLURM_NNODES" "$gpus" "$first" "$@"' launcher "$@"
