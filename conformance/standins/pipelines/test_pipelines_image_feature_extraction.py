"""Stand-in: the image-feature-extraction pipeline gives a list of vectors a picture."""

import unittest

import torch
from PIL import Image
from transformers import ImageFeatureExtractionPipeline


class ImageFeatureExtractionPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer=None, image_processor=None, dtype="float32", **processors):
        pipe = ImageFeatureExtractionPipeline(model=model, image_processor=image_processor, dtype=dtype)
        return pipe, [Image.new("RGB", (40, 30), color) for color in ("red", "white")]

    def run_pipeline_test(self, pipe, examples):
        assert torch.tensor(pipe(examples[0])).dim() == 3
        assert len(pipe(examples)) == 2
