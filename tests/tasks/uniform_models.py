"""Models to which every token is equally likely: what they lose on a text can be computed by hand."""

import torch

from seqnlp.tasks.base import Outcome
from seqnlp.training import ModelEvaluator


def begin(kind, folder, *argv):
    """A task as its recipe begins it, and its run."""
    settings = ["--output_dir", folder / "out", "--report_to", "none", "--num_threads", "1"]
    task = kind.from_command_line(argv=[*map(str, [*settings, *argv])])
    return task, task.start()


def uniform(task, **fields):
    """An evaluator of a model whose weights are all zero, of the class that the task's Auto class finds."""
    model = task.auto_class.from_config(task.build_config(**fields))
    assert type(model) is task.model_class
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return ModelEvaluator(model, 2)


def outcome_of(run, data, split, **predictions):
    """What a run has come to, for reports and files."""
    run.output_dir.mkdir(exist_ok=True)
    return Outcome(run, data, split, predictions)
