#!/bin/bash
# One machine's part of a run on several, started on each of them by slurm.sh or skypilot.yaml:
#   recipes/clusters/node.sh RANK MACHINES GPUS ADDRESS recipes/NAME.py --output_dir DIR [flags]
# with the machine's number from 0, the number of machines, the GPUs of each and the address of the first. The run goes on
# from its last checkpoint where DIR, which all machines share, has one.
set -euo pipefail

rank=$1 machines=$2 gpus=$3 address=$4
arguments=("${@:5}")
folder=""
for index in "${!arguments[@]}"; do
  [[ ${arguments[index]} == --output_dir ]] && folder=${arguments[index + 1]}
done
if [[ -z $folder ]]; then
  echo "error: --output_dir DIR is missing: a run that is started again must know where its checkpoints lie." >&2
  exit 2
fi
if compgen -G "$folder/checkpoints/step-*" > /dev/null; then
  arguments+=(--resume_from_checkpoint latest)
fi

exec accelerate launch --config_file recipes/accelerate/many_nodes.yaml --num_machines "$machines" \
  --num_processes "$((machines * gpus))" --machine_rank "$rank" --main_process_ip "$address" "${arguments[@]}"
