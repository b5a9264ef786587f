"""Stand-in: the text-generation pipeline on one prompt, none, several, sampled, and in batches of unequal length."""

import unittest

import pytest
from transformers import TextGenerationPipeline


class TextGenerationPipelineTests(unittest.TestCase):
    def get_test_pipeline(self, model, tokenizer=None, dtype="float32", **processors):
        pipe = TextGenerationPipeline(model=model, tokenizer=tokenizer, dtype=dtype, max_new_tokens=5)
        return pipe, ["This is a test", "Another longer test than that"]

    def run_pipeline_test(self, pipe, examples):
        (whole,) = pipe(examples[0], do_sample=False)
        assert whole["generated_text"].startswith(examples[0])
        (new,) = pipe(examples[0], do_sample=False, return_full_text=False)
        assert whole["generated_text"] == examples[0] + new["generated_text"]
        (ids,) = pipe(examples[0], return_tensors=True)
        assert isinstance(ids["generated_token_ids"], list)
        for rows in (
            pipe(examples, num_return_sequences=2, do_sample=True),
            pipe(examples, num_return_sequences=2, do_sample=True, batch_size=2),
            pipe(examples, num_return_sequences=2, num_beams=2, batch_size=2),
        ):
            assert [len(row) for row in rows] == [2, 2]
        if pipe.tokenizer.bos_token_id is not None:
            assert isinstance(pipe("")[0]["generated_text"], str)
        with pytest.raises(ValueError, match="return_full_text"):
            pipe(examples[0], return_full_text=True, return_tensors=True)
