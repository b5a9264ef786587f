#!/bin/bash
# sbatch recipes/accelerate/slurm.sh recipes/language_modeling.py --output_dir outputs/lm --checkpointing_steps 500
# Submit it again and the run goes on from its last checkpoint. Not run yet on a cluster: none was at hand; a long test
# runs it on one machine with stand-ins for SLURM's own commands.
#SBATCH --job-name=seqnlp
#SBATCH --nodes=2                 # machines
#SBATCH --ntasks-per-node=1       # one launcher on each, which starts a process for each GPU
#SBATCH --gpus-per-node=8         # GPUs of a machine
#SBATCH --cpus-per-task=64        # cores of a machine
#SBATCH --time=24:00:00           # SLURM ends the job then
#SBATCH --output=%x-%j.out        # name and number of the job
#SBATCH --requeue                 # start again when a machine fails
set -euo pipefail

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
gpus=${SLURM_GPUS_ON_NODE:-8}

arguments=("$@")
folder=""
for index in "${!arguments[@]}"; do
  [[ ${arguments[index]} == --output_dir ]] && folder=${arguments[index + 1]}
done
if compgen -G "$folder/checkpoints/step-*" > /dev/null; then
  arguments+=(--resume_from_checkpoint latest)
fi

# Each machine's own number is known only where srun has started the launcher.
export first gpus
srun --kill-on-bad-exit=1 bash -c 'accelerate launch --config_file recipes/accelerate/many_nodes.yaml \
  --num_machines "$SLURM_NNODES" --num_processes "$((SLURM_NNODES * gpus))" --machine_rank "$SLURM_NODEID" \
  --main_process_ip "$first" "$@"' launcher "${arguments[@]}"
