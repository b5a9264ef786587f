"""Stand-in: the zero-shot pipeline ranks labels that the model never saw."""

import unittest

import pytest
from transformers import ZeroShotClassificationPipeline


class ZeroShotClassificationPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer=None, dtype="float32", **processors):
        pipe = ZeroShotClassificationPipeline(
            model=model, tokenizer=tokenizer, dtype=dtype, candidate_labels=["politics", "health"]
        )
        return pipe, ["Who are you voting for?", "My stomach hurts."]

    def run_pipeline_test(self, pipe, examples):
        answer = pipe(examples[0])
        assert answer["sequence"] == examples[0]
        assert set(answer["labels"]) == {"politics", "health"}
        assert sum(answer["scores"]) == pytest.approx(1, abs=5e-3)
        answer = pipe(examples[0], candidate_labels="politics, public health, science", multi_label=True)
        assert len(answer["scores"]) == 3
        assert len(pipe(examples, candidate_labels=["politics"])) == 2
        with pytest.raises(ValueError, match="at least one"):
            pipe("", candidate_labels="politics")
