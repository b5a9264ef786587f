"""Stand-in: the feature-extraction pipeline gives one vector a token."""

import unittest

import torch
from transformers import FeatureExtractionPipeline


class FeatureExtractionPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer=None, dtype="float32", **processors):
        if model.config.is_encoder_decoder:
            self.skipTest("The vectors of an encoder-decoder are not one a token of its input.")
        return FeatureExtractionPipeline(model=model, tokenizer=tokenizer, dtype=dtype), ["This is a test", "Another"]

    def run_pipeline_test(self, pipe, examples):
        for example in examples:
            features = torch.tensor(pipe(example))
            assert features.shape[:2] == pipe.tokenizer(example, return_tensors="pt").input_ids.shape
        assert len(pipe(examples)) == 2
        assert torch.is_tensor(pipe(examples[0], return_tensors=True))
        assert len(pipe(examples[0] * 100, truncation=True)) == 1
