"""The target `transformers`: a class of transformers of the same mathematics, which needs no code of anybody's."""

import copy
import json
import shlex
from pathlib import Path

import torch
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel

from ..models import AUTO_CLASSES
from .base import Check, Export, ExportError, in_python
from .inputs import (
    NEW_TOKENS,
    Comparison,
    TokenBatch,
    check_alike,
    check_difference,
    check_tokenizer,
    padded,
    random_texts,
    writing_options,
)
from .native_classes import NATIVE_CLASSES, NativeClass


LIMIT = 1e-5
"""By how much outputs may differ, relative to the largest of them where that is above 1."""

PIPELINES = {
    "ForCausalLM": "text-generation",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForImageClassification": "image-classification",
}
"""By the end of a class's name, the pipeline that runs it."""


class TransformersExport(Export):
    """As Llama, GPT-2, BERT, Marian, Pegasus or ViT, whichever computes the same."""

    name = "transformers"
    title = "transformers by itself, as its Llama, GPT-2, BERT, Marian, Pegasus or ViT, without code of seqnlp's"

    native: type[NativeClass]

    def refuse(self):
        """By the fields that keep the model from being any of the classes."""
        head = type(self.model).__name__
        candidates = [known for known in NATIVE_CLASSES if head in known.heads]
        if not candidates:
            kind = f"model_type={self.config.model_type!r}"
            raise ExportError(f"No class of transformers computes what a {head} ({kind}) computes.")
        if self.target_processor is not None:
            raise ExportError(
                f"target_tokenizer={self.config.target_tokenizer!r}: a class of transformers has one tokenizer for "
                "what it reads and what it writes."
            )
        misfits = {known.__name__: known.misfits(self.config, head) for known in candidates}
        fitting = [known for known in candidates if not misfits[known.__name__]]
        if not fitting:
            reasons = "; ".join(f"{name}: {', '.join(found)}" for name, found in misfits.items())
            raise ExportError(f"No class of transformers computes what this {head} computes. {reasons}.")
        self.native = fitting[0]

    @property
    def _kind(self) -> str:
        return next(kind for kind in AUTO_CLASSES if type(self.model).__name__.endswith(kind))

    def write(self, folder: Path) -> None:
        """Configuration, weights, how it generates, and the processor."""
        self.native.build(self.model).save_pretrained(folder)
        if self.processor is not None:
            processor = copy.deepcopy(self.processor)
            if "left" not in self.native.padding and not self.model.can_generate():
                processor.padding_side = "right"  # it counts positions from the left
            processor.save_pretrained(folder)

    def verify(self, folder: Path) -> list[Check]:
        """As it is loaded by anybody: its class, its processor, its outputs, and what it writes."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        native = AUTO_CLASSES[self._kind].from_pretrained(folder, dtype=torch.float32, trust_remote_code=False).eval()
        is_native = type(native).__module__.startswith("transformers.") and "auto_map" not in config
        checks = [Check("class", is_native, type(native).__name__, "one of transformers")]
        if self._kind == "ForImageClassification":
            return [*checks, *self._check_image_processor(folder), self._check_images(native)]
        checks += self._check_tokenizer(folder)
        texts = random_texts(self.config)
        sides = tuple(side for side in self.native.padding if self.config.pad_token_id is not None)
        checks.append(self._check_texts(native, padded(texts, self.config.pad_token_id, sides)))
        return checks + (self._check_generation(native, texts) if self.model.can_generate() else [])

    def usage(self, folder: str) -> str:
        """A pipeline where there is one, or else the model by itself; and the server for language models."""
        auto_class, pipeline = AUTO_CLASSES[self._kind], PIPELINES.get(self._kind)
        if pipeline is not None:
            read = "image.png" if pipeline == "image-classification" else "In the beginning"
            call = f'("{read}")'
            if pipeline == "text-generation":
                call = f'("{read}", max_new_tokens={min(50, self.config.max_position_embeddings // 2)})'
                call += f")\n# or, as a server: transformers serve {shlex.quote(folder)}"
            else:
                call += ")"
            made = f'pipeline("{pipeline}", model={in_python(folder)})'
            return f"from transformers import pipeline\n\nprint({made}{call}"
        lines = [
            f"from transformers import {auto_class.__name__}, AutoTokenizer",
            "",
            f"model = {auto_class.__name__}.from_pretrained({in_python(folder)})",
            f"tokenizer = AutoTokenizer.from_pretrained({in_python(folder)})",
            'inputs = tokenizer("A man sleeps.", return_tensors="pt")',
        ]
        if self.model.can_generate():
            longest = self.config.max_position_embeddings - 1
            lines += [
                f"ids = model.generate(**inputs, num_beams=5, max_new_tokens={min(100, longest)})",
                "print(tokenizer.decode(ids[0], skip_special_tokens=True))",
            ]
        else:
            lines.append("print(tokenizer.decode(model(**inputs).logits[0].argmax(-1)))")
        return "\n".join(lines)

    def _check_tokenizer(self, folder: Path) -> list[Check]:
        """What the saved tokenizer makes of texts, and of tokens, is what ours makes."""
        if self.processor is None:
            return []
        saved = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)

        def is_alike(text: str) -> bool:
            ids = self.processor(text, verbose=False)["input_ids"]
            return saved(text, verbose=False)["input_ids"] == ids and saved.decode(ids) == self.processor.decode(ids)

        return [check_tokenizer(self.processor, self.config, is_alike)]

    def _check_image_processor(self, folder: Path) -> list[Check]:
        if self.processor is None:
            return []
        saved = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        shape = (3, *(2 * side for side in self.config.image_shape))
        image = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
        made, expected = (each(image, return_tensors="pt")["pixel_values"] for each in (saved, self.processor))
        same = torch.equal(made, expected)
        return [Check("image processor", same, "alike" if same else "another image", "alike")]

    def _check_images(self, native: PreTrainedModel) -> Check:
        shape = (8, self.config.num_channels, *self.config.image_shape)
        pixels = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        expected = self.model(pixels).logits
        return check_difference("logits of 8 images of noise", [Comparison(native(pixels).logits, expected)], LIMIT)

    def _check_texts(self, native: PreTrainedModel, batches: list[TokenBatch]) -> Check:
        outputs = []
        for batch in batches:
            inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
            if self.config.is_encoder_decoder:
                inputs["decoder_input_ids"] = batch.input_ids
            mask = batch.attention_mask if self._kind != "ForSequenceClassification" else None
            outputs.append(Comparison(native(**inputs).logits, self.model(**inputs).logits, mask))
        sides = " and ".join(dict.fromkeys(batch.name for batch in batches if batch.name != "none"))
        name = f"logits of {len(batches)} batches" + (f", padded {sides}" if sides else "")
        return check_difference(name, outputs, LIMIT)

    def _check_generation(self, native: PreTrainedModel, texts: list[torch.Tensor]) -> list[Check]:
        """Greedily and by beams, one text at a time and in a padded batch."""
        longest = self.config.max_position_embeddings if self.native.bounded else None
        checks = []
        pad = self.config.pad_token_id
        side = "right" if self.config.is_encoder_decoder else "left"
        batches = padded(texts, pad, () if pad is None else (side,))[-3:]
        for num_beams, name in ((1, "greedy"), (4, "4 beams")):
            same, total = 0, 0
            for batch in batches:
                length = 1 if self.config.is_encoder_decoder else batch.input_ids.shape[1]
                new = NEW_TOKENS if longest is None else min(NEW_TOKENS, longest - length)
                if new < 1:
                    continue
                options = writing_options(self.config, batch.input_ids.shape[1], new, num_beams)
                rows = [
                    model.generate(batch.input_ids, attention_mask=batch.attention_mask, **options).tolist()
                    for model in (self.model, native)
                ]
                same += sum(ours == theirs for ours, theirs in zip(*rows, strict=True))
                total += len(batch.input_ids)
            checks.append(check_alike(f"tokens, {name}", same, total))
        return checks
