"""Training: arguments, the one loop, checkpoints and the record of a run."""

from .arguments import (
    ArgumentsError,
    ModelArguments,
    TrainingArguments,
    build_config,
    parse_arguments,
    public_path,
)
from .averaging import WeightAverager
from .checkpoints import CheckpointError, CheckpointFolder
from .evaluation import Evaluator, ModelEvaluator, Predictions
from .loop import TrainingError, TrainingLoop, count_labels
from .optimization import create_optimizer, create_scheduler
from .run import Run, run_recipe, start_run
from .run_record import RunRecord, write_json
from .translation import Translator
from .writing import write_on, write_texts


__all__ = [
    "ArgumentsError",
    "CheckpointError",
    "CheckpointFolder",
    "Evaluator",
    "ModelArguments",
    "ModelEvaluator",
    "Predictions",
    "Run",
    "RunRecord",
    "TrainingArguments",
    "TrainingError",
    "TrainingLoop",
    "TranslationModelArguments",
    "TranslationTrainingArguments",
    "Translator",
    "WeightAverager",
    "build_config",
    "count_labels",
    "create_optimizer",
    "create_scheduler",
    "parse_arguments",
    "public_path",
    "run_recipe",
    "start_run",
    "write_json",
    "write_on",
    "write_texts",
]
