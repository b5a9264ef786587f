"""Stand-in: the fill-mask pipeline ranks tokens for one mask, for several, and among given targets."""

import unittest

from transformers import FillMaskPipeline


class FillMaskPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer=None, dtype="float32", **processors):
        if tokenizer is None or tokenizer.mask_token_id is None:
            self.skipTest("The tokenizer has no mask token.")
        pipe = FillMaskPipeline(model=model, tokenizer=tokenizer, dtype=dtype)
        return pipe, [f"This is another {tokenizer.mask_token} test", f"A {tokenizer.mask_token}"]

    def run_pipeline_test(self, pipe, examples):
        answers = pipe(examples[0])
        assert len(answers) == 5
        assert [answer["score"] for answer in answers] == sorted((a["score"] for a in answers), reverse=True)
        assert all(pipe.tokenizer.mask_token not in answer["sequence"] for answer in answers)
        assert [len(row) for row in pipe(examples, top_k=2, batch_size=2)] == [2, 2]
        targets = sorted(pipe.tokenizer.get_vocab())[:2]
        assert sorted(answer["token_str"] for answer in pipe(examples[0], targets=targets)) == targets
        mask = pipe.tokenizer.mask_token
        assert [len(answers) for answers in pipe(f"This is {mask} {mask}", top_k=3)] == [3, 3]
