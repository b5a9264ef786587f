"""The score that stands for a run, whatever its task."""

from seqnlp.tasks.trajectory import Trajectory
from seqnlp.tasks.translation import Translation


def record_of(metrics, **hyperparameters):
    """Of a run whose splits all have scores."""
    return {
        "hyperparameters": hyperparameters,
        "dataset": {"splits": {split: {} for split in metrics}},
        "metrics": metrics,
    }


def test_the_score_that_chose_the_weights_stands_for_the_run_or_else_the_first_one():
    scores = {"mae": 0.25, "rmse": 0.5}
    for by, shown in (("validation_rmse", "RMSE 0.500 m"), ("loss", "MAE 0.250 m")):
        record = record_of({"validation": scores}, metric_for_best_model=by, value_unit="m")
        assert Trajectory.headline(record).shown == shown
    assert Trajectory.headline(record_of({"validation": {"mae": None}})) is None


def test_of_several_tests_the_first_one_stands_for_the_run():
    metrics = {"validation": {"bleu": 40.0}, "test_2016_flickr": {"bleu": 38.5}, "test_2017_flickr": {"bleu": 30.0}}
    found = Translation.headline(record_of(metrics, metric_for_best_model="bleu"))
    assert (found.split, found.key, found.value, found.shown) == ("test_2016_flickr", "bleu", 38.5, "BLEU 38.50 %")
