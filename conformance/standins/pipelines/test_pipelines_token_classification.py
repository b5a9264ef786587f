"""Stand-in: the token-classification pipeline token by token, grouped, and in batches."""

import unittest

from transformers import TokenClassificationPipeline


class TokenClassificationPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer=None, dtype="float32", **processors):
        pipe = TokenClassificationPipeline(model=model, tokenizer=tokenizer, dtype=dtype)
        return pipe, ["This is a test", "Another test"]

    def run_pipeline_test(self, pipe, examples):
        labels = set(pipe.model.config.id2label.values())
        (batched, _) = pipe(examples, batch_size=2, ignore_labels=[])
        words = pipe(examples[0], ignore_labels=[])
        assert [word["word"] for word in words] == [word["word"] for word in batched]
        for word in words:
            assert word["entity"] in labels
            assert 0 <= word["score"] <= 1
            assert 0 <= word["start"] < word["end"] <= len(examples[0])
        for strategy in ("simple", "first", "average", "max"):
            for group in pipe(examples[0], aggregation_strategy=strategy, ignore_labels=[]):
                assert "entity_group" in group
