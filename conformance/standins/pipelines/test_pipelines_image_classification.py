"""Stand-in: the image-classification pipeline on one picture, on several, and in batches."""

import unittest

from PIL import Image
from transformers import ImageClassificationPipeline


class ImageClassificationPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer=None, image_processor=None, dtype="float32", **processors):
        pipe = ImageClassificationPipeline(model=model, image_processor=image_processor, dtype=dtype, top_k=2)
        return pipe, [Image.new("RGB", (40, 30), color) for color in ("red", "white")]

    def run_pipeline_test(self, pipe, examples):
        labels = set(pipe.model.config.id2label.values())
        assert {answer["label"] for answer in pipe(examples[0])} <= labels
        alone = [pipe(example) for example in examples]
        together = pipe(examples, batch_size=2)
        for row, other in zip(alone, together, strict=True):
            assert [answer["label"] for answer in row] == [answer["label"] for answer in other]
        assert len(pipe([*examples, Image.new("L", (20, 20))])) == 3
