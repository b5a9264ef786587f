"""The pipeline `seqnlp-translation`: sentences to translations and, if asked, their scores and alignments.

transformers 5 has no translation pipeline any more and reserves the name `translation`.
"""

import sys
from collections.abc import Collection, Mapping, Set
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, Pipeline, PreTrainedTokenizerBase
from transformers.pipelines import PIPELINE_REGISTRY


TASK = "seqnlp-translation"


class TranslationPipeline(Pipeline):
    """
    Translates with an encoder-decoder.

        translate = pipeline("seqnlp-translation", model=folder)
        translate("A man sleeps.")  # {"translation_text": ...}
        translate(sentences, batch_size=32, num_beams=5, return_alignment=True)  # a list of those

    An answer holds

    - `translation_text`;
    - with `return_score=True`, `score`, the mean log-probability of its tokens given the source, the end token
      included: at best 0;
    - with `return_alignment=True`, `source_tokens`, `target_tokens` and `alignment`: for each target token the shares
      of attention that the source tokens got when it was predicted, as the mean over layers and heads.

    For a score or an alignment the translation is read once more: a third of the time that a greedy one takes.

    A sentence of white space alone has an empty translation. Nothing of a long one is cut off.

    Further arguments, here or at a call, are those of `generate`: `num_beams`, `length_penalty`, `max_new_tokens` and
    so on; what is not given is as the model's generation configuration has it.

    Args:
        target_tokenizer: Of the target, where the vocabularies are separate; by default what the recipe saved beside
            the model, or else `tokenizer`.
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = False
    _load_tokenizer = True
    _pipeline_calls_generate = True

    def __init__(self, *args, target_tokenizer: PreTrainedTokenizerBase | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        folder = getattr(self.model.config, "target_tokenizer", None)
        if target_tokenizer is None and folder is not None:
            target_tokenizer = AutoTokenizer.from_pretrained(self.model.name_or_path, subfolder=folder)
        self.target_tokenizer = self.tokenizer if target_tokenizer is None else target_tokenizer

    def __call__(self, inputs: str | Collection[str], **kwargs) -> dict[str, Any] | list[dict[str, Any]]:
        """Translate one sentence, or many in a list, a tuple, an array, or a column of a dataset or of a table."""
        if isinstance(inputs, Collection) and not isinstance(inputs, str | bytes | Mapping | Set):
            inputs = list(inputs)
            if not inputs:
                return []
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(
        self, return_alignment: bool | None = None, return_score: bool | None = None, **generate_kwargs
    ):
        if generate_kwargs.get("num_return_sequences", 1) != 1:
            raise ValueError(f"{TASK} gives one translation per sentence: leave num_return_sequences out.")
        forward = dict(generate_kwargs)
        forward.pop("return_dict_in_generate", None)  # the answer is a dictionary of its own
        if return_alignment is not None:
            forward["return_alignment"] = return_alignment
        if return_score is not None:
            forward["return_score"] = return_score
        return {}, forward, {}

    def preprocess(self, text: str) -> dict[str, Any]:
        """
        One sentence to tokens.

        Raises:
            ValueError: If it is no string, or the model has no position for some of them.
        """
        if not isinstance(text, str):
            raise ValueError(f"{TASK} translates strings, and was given a {type(text).__name__}.")
        encoded = self.tokenizer(text, return_tensors="pt")
        length, positions = encoded["input_ids"].shape[1], self._num_positions()
        if positions is not None and length > positions:
            raise ValueError(
                f"The sentence {text[:40]!r}... has {length} tokens, and the model has learned "
                f"max_position_embeddings={positions}: translate it in parts."
            )
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"], "text": text}

    def _forward(
        self,
        model_inputs: dict[str, Any],
        return_alignment: bool = False,
        return_score: bool = False,
        **generate_kwargs,
    ):
        if return_alignment and getattr(self.model.config, "attention_type", None) == "none":
            raise ValueError("return_alignment=True: a model with attention_type='none' does not align anything.")
        text = model_inputs.pop("text")
        if "max_length" in generate_kwargs:
            # What the generation configuration says would go before what the caller says.
            generate_kwargs = {"max_new_tokens": None, **generate_kwargs}
        else:
            # Room for any pair of languages, and an end to babble.
            longest = min(2 * model_inputs["input_ids"].shape[1] + 20, self._num_positions() or sys.maxsize)
            generate_kwargs = {"max_new_tokens": longest, "max_length": None, **generate_kwargs}
        options = self._prepare_generate_kwargs(generate_kwargs)
        sequences = self.model.generate(**model_inputs, **options, return_dict_in_generate=False)
        outputs = {"sequences": sequences, "text": text, **model_inputs}
        if return_alignment or return_score:
            outputs |= self._read_again(sequences, model_inputs, return_alignment, return_score)
        return outputs

    def _read_again(
        self, sequences: torch.Tensor, source: dict[str, torch.Tensor], return_alignment: bool, return_score: bool
    ):
        """Read the translations from their beginning, for the probability of their tokens and what was looked at."""
        implementation = self.model.config._attn_implementation
        if return_alignment:
            self.model.set_attn_implementation("eager")  # the others do not tell their weights
        try:
            outputs = self.model(
                **source, decoder_input_ids=sequences[:, :-1], use_cache=False, output_attentions=return_alignment
            )
        finally:
            if return_alignment:
                self.model.set_attn_implementation(implementation)
        read = {}
        if return_score:
            tokens = sequences[:, 1:].unsqueeze(2)  # (B, T, 1)
            read["log_probabilities"] = outputs.logits.float().log_softmax(-1).gather(2, tokens).squeeze(2)  # (B, T)
        if return_alignment:
            read["alignment"] = torch.stack(outputs.cross_attentions).mean(dim=(0, 2))  # (B, T, S)
        return read

    def postprocess(self, model_outputs: dict[str, Any]) -> dict[str, Any]:
        """The answer for one sentence."""
        tokens = model_outputs["sequences"][0, 1:].tolist()
        ends = [place for place, token in enumerate(tokens) if token in self._end_tokens()]
        length = ends[0] + 1 if ends else len(tokens)
        text = self.target_tokenizer.decode(tokens[:length], skip_special_tokens=True).strip()
        is_empty = not model_outputs["text"].strip()
        if is_empty:
            text, length = "", 0
        answer = {"translation_text": text}
        if "log_probabilities" in model_outputs:
            answer["score"] = 0.0 if is_empty else float(model_outputs["log_probabilities"][0, :length].mean())
        if "alignment" in model_outputs:
            is_source = model_outputs["attention_mask"][0].bool()
            answer |= {
                "source_tokens": self._pieces(self.tokenizer, model_outputs["input_ids"][0][is_source].tolist()),
                "target_tokens": self._pieces(self.target_tokenizer, tokens[:length]),
                "alignment": model_outputs["alignment"][0, :length][:, is_source].tolist(),
            }
        return answer

    def _num_positions(self) -> int | None:
        """How many tokens the model can read where its positions are learned; other positions have no end."""
        config = self.model.config
        is_learned = getattr(config, "position_embedding_type", None) == "learned"
        return config.max_position_embeddings if is_learned else None

    def _end_tokens(self) -> list[int]:
        end = self.model.generation_config.eos_token_id
        return end if isinstance(end, list) else [end]

    @staticmethod
    def _pieces(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
        # Decoded one by one, since byte-level tokens do not show their characters.
        return [tokenizer.decode([token]) for token in ids]


def register() -> None:
    """Make `pipeline("seqnlp-translation")` known; calling it again changes nothing."""
    if TASK not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            TASK, pipeline_class=TranslationPipeline, pt_model=AutoModelForSeq2SeqLM, type="text"
        )
