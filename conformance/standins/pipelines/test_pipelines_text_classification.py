"""Stand-in: the text-classification pipeline on one text, on several, with all labels and in batches."""

import unittest

import pytest
from transformers import TextClassificationPipeline


class TextClassificationPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer=None, dtype="float32", **processors):
        return TextClassificationPipeline(model=model, tokenizer=tokenizer, dtype=dtype), ["This is a test", "Another"]

    def run_pipeline_test(self, pipe, examples):
        labels = set(pipe.model.config.id2label.values())
        (answer,) = pipe(examples[0])
        assert answer["label"] in labels
        assert 0 <= answer["score"] <= 1
        for rows in (pipe(examples, top_k=None), pipe(examples, top_k=None, batch_size=2)):
            for row in rows:
                assert {answer["label"] for answer in row} == labels
                assert sum(answer["score"] for answer in row) == pytest.approx(1, abs=5e-3)
        assert pipe({"text": examples[0], "text_pair": examples[1]})["label"] in labels
