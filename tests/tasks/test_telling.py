"""What a run tells of itself: facts by hand."""

from seqnlp.tasks.telling import described_data, described_kept


def test_data():
    splits = {"train": {"rows": 12345}, "test": {"rows": 7}}
    assert described_data({"name": "<local:mine>", "splits": splits}) == "mine: rows of train 12,345, test 7"
    assert described_data({"name": "a/b", "config": "en", "splits": {"train": {"streamed": True}}}) == (
        "a/b en: rows of train streamed"
    )


def test_kept():
    kept = {"step": 141, "epoch": 3.0, "metric": "accuracy", "value": 0.802}
    assert described_kept(kept, True, 188) == (
        "Kept: the weights of epoch 3 (step 141 of 188), whose validation accuracy is the highest, 0.8020."
    )
    assert "the lowest, 0.8020" in described_kept({**kept, "metric": "loss"}, False, 188)
    assert "the mean of the weights at the last 5 validations" in described_kept({**kept, "average_of": 5}, False, 188)
    assert described_kept({}, None, 188) == "The weights are those of the last step: no validation could choose."
