"""Training: arguments, the one loop, checkpoints and the record of a run."""

from .arguments import TrainingArguments
from .averaging import WeightAverager
from .checkpoints import CheckpointError, CheckpointFolder
from .errors import ArgumentsError, TrainingError
from .evaluation import Evaluator, ModelEvaluator, Predictions
from .loop import TrainingLoop, count_labels
from .optimization import create_optimizer, create_scheduler
from .parsing import build_config, parse_arguments
from .run import Run, run_recipe, start_run
from .run_record import RunRecord, write_json


__all__ = [
    "ArgumentsError",
    "CheckpointError",
    "CheckpointFolder",
    "Evaluator",
    "ModelEvaluator",
    "Predictions",
    "Run",
    "RunRecord",
    "TrainingArguments",
    "TrainingError",
    "TrainingLoop",
    "WeightAverager",
    "build_config",
    "count_labels",
    "create_optimizer",
    "create_scheduler",
    "parse_arguments",
    "run_recipe",
    "start_run",
    "write_json",
]
