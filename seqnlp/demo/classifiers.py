"""Answers of classifiers: of texts, of words, of gaps in a text, of images."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from ..data.columns import evenly_spread
from ..data.image_files import in_8_bits
from ..diagnostics import DiagnosticsError, attention_maps
from ..metrics import entities_of, entity_scheme
from .answerers import COUNT, Answerer, Named, ranked
from .answers import MOST_NAMED, ClassAnswer, ImageAnswer, MaskAnswer, Options, Span, Tag, TagAnswer, Word
from .errors import DemoError
from .inputs import read_image


MOST_WORDS = 200
"""Words of a text that are taken out in turn, at most."""
BATCH = 32
GAP = "___"
"""What a visitor types for a gap; the token of the model's own tokenizer is taken too."""


class TextClassifier(Answerer):
    """
    A class, several, or a number for a text, and what each word counts for.

    A classifier with attention pooling tells that itself (Yang et al. 2016, section 2.2). Of any other the weight of a
    word is how far the probability falls when the word is taken out of the text, or "erased" (Li, Monroe & Jurafsky
    2016, arXiv 1612.08220, section 3): that asks the model alone, whatever it is made of, in one pass per word.
    """

    auto_class = AutoModelForSequenceClassification
    title = "Classify a text"
    explanation = "Type a text: see its class, how sure the model is, and which words count."

    def respond(self, given: str, options: Options) -> Iterator[ClassAnswer]:
        """At once."""
        values = self._values([given])[0]
        config = self.model.config
        names = [str(config.id2label[index]) for index in range(config.num_labels)]
        if config.num_labels == 1:
            label, scores, value, column = "", [], float(values[0]), 0
        else:
            scores, value, column = ranked(names, values), None, int(values.argmax())
            label = scores[0].text
            if config.problem_type == "multi_label_classification":
                label = ", ".join(score.text for score in scores if score.probability > 0.5)
        words, weights, remarks = self._weigh(given, float(values[column]), column)
        remarks += self.cut_remark(given) + self.unknown_remark(given)
        yield ClassAnswer(given, label, scores, value, words, weights, remarks=remarks)

    def _values(self, texts: list[str]) -> torch.Tensor:
        """`(len(texts), num_labels)`: probabilities, or the number itself of a model that gives one."""
        size = BATCH if self.tokenizer.pad_token_id is not None else 1
        logits = []
        for start in range(0, len(texts), size):
            batch = texts[start : start + size]
            with torch.no_grad():
                logits.append(self.model(**self.encode(batch, padding=len(batch) > 1)).logits.float())
        logits = torch.cat(logits)
        if self.model.config.num_labels == 1:
            return logits
        is_several = self.model.config.problem_type == "multi_label_classification"
        return logits.sigmoid() if is_several else logits.softmax(dim=-1)

    def _weigh(self, text: str, whole: float, column: int) -> tuple[list[Word], str, list[str]]:
        found = [(match.group(), match.start(), match.end()) for match in re.finditer(r"\S+", text)]
        if getattr(self.model, "attention_pooling", None) is not None:
            return self._pooled(text, found), "attention pooling", []
        shorter = [text[:start] + text[end:] for _, start, end in found[:MOST_WORDS]]
        weights = (whole - self._values(shorter)[:, column]).tolist() if shorter else []
        words = [Word(*word, weights[index] if index < MOST_WORDS else None) for index, word in enumerate(found)]
        left = len(found) - MOST_WORDS
        return words, "occlusion", [f"{left} words after the first {MOST_WORDS} are not weighed."] if left > 0 else []

    def _pooled(self, text: str, found: list[tuple[str, int, int]]) -> list[Word]:
        """The weights of a word's tokens together; a token belongs to the word that it ends in."""
        encoded = self.encode([text])
        ids = encoded["input_ids"][0].tolist()
        if not ids:
            return []
        maps = attention_maps(self.model, dict(encoded), self.tokens_of(ids))
        weights = next(one.layers[0][0, 0] for one in maps if one.name == "attention pooling")
        ends = [span.end for token in range(len(ids)) if (span := encoded.token_to_chars(0, token)) is not None]
        words = [Word(*word, 0.0 if word[1] < max(ends, default=0) else None) for word in found]
        for token, weight in enumerate(weights.tolist()):
            characters = encoded.token_to_chars(0, token)
            if characters is not None:
                last = characters.end - 1  # some tokens begin with the space before their word
                for word in words:
                    if word.start <= last < word.end:
                        word.weight += weight
        return words


class TokenClassifier(Answerer):
    """A label for every word: that of its first token (Devlin et al. 2019, arXiv 1810.04805, section 5.3)."""

    auto_class = AutoModelForTokenClassification
    title = "Label the words of a text"
    explanation = "Type a text: see the label of each word."
    column = "tokens"

    def prepare(self, named: Named) -> None:
        """The tokenizer, which has to know the words of its tokens."""
        super().prepare(named)
        if not self.tokenizer.is_fast:
            raise DemoError(
                f"{named.name}: its tokenizer is not one of the package tokenizers, which alone tell the words of "
                "their tokens."
            )

    def examples(self, values: Sequence[list[str]]) -> list[str]:
        """Sentences, of their words."""
        return super().examples([" ".join(words) for words in values])

    def respond(self, given: str, options: Options) -> Iterator[TagAnswer]:
        """At once."""
        encoded = self.encode(given)
        tags: list[Tag] = []
        if encoded["input_ids"].shape[1]:
            with torch.no_grad():
                probabilities = self.model(**encoded).logits[0].float().softmax(dim=-1)  # (T, num_labels)
            best, before = probabilities.max(dim=-1), None
            for token, word in enumerate(encoded.word_ids(0)):
                if word is not None and word != before:
                    start, end = encoded.word_to_chars(0, word)
                    start += len(given[start:end]) - len(given[start:end].lstrip())
                    label = str(self.model.config.id2label[int(best.indices[token])])
                    if start < end:
                        tags.append(Tag(given[start:end], start, end, label, float(best.values[token])))
                before = word
        remarks = self.cut_remark(given) + self.unknown_remark(given)
        names = self.model.config.id2label.values()
        yield TagAnswer(given, tags, spans_of(given, tags, names), remarks=remarks)


def spans_of(text: str, tags: list[Tag], labels: Iterable[str]) -> list[Span]:
    """
    The stretches that labels such as `B-NAME` and `I-NAME` make (Ramshaw & Marcus 1995, section 3.2), in any scheme
    that [`entity_scheme`] knows; none where the labels of the model are not of such a form.
    """
    if entity_scheme(labels) is None:
        return []
    entities = entities_of([tag.label for tag in tags])
    ends = [(name, tags[first].start, tags[last].end) for name, first, last in entities]
    return [Span(text[start:end], start, end, name) for name, start, end in ends]


class GapFiller(Answerer):
    """What stands in the gaps of a text."""

    auto_class = AutoModelForMaskedLM
    title = "Fill the gaps of a text"
    explanation = f"Type a text with {GAP} for a gap: see what the model puts there."
    column = None

    def as_typed(self, prompt: str) -> str:
        """With gaps as the page asks for them."""
        return prompt.replace(self.tokenizer.mask_token or GAP, GAP)

    def respond(self, given: str, options: Options) -> Iterator[MaskAnswer]:
        """At once."""
        mask = self.tokenizer.mask_token
        if mask is None:
            raise DemoError(f"{self.name}: its tokenizer has no token for a gap, so there is nothing to fill.")
        parts = re.split(rf"{GAP}_*|{re.escape(mask)}", given)
        if len(parts) == 1:
            raise DemoError(f"There is no gap in {given[:60]!r}: write {GAP} for one.")
        ids = self.tokenizer(mask.join(parts), split_special_tokens=False, verbose=False).input_ids
        if ids.count(self.tokenizer.mask_token_id) != len(parts) - 1:
            raise DemoError(f"{self.name}: its tokenizer does not find its own token for a gap, {mask!r}, in a text.")
        if len(ids) > self.longest():
            raise DemoError(f"The text is {len(ids)} tokens long, and the model reads {self.longest()}: shorten it.")
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0].float()  # (T, vocab_size)
        gaps, filled = [], list(ids)
        for place, token in enumerate(ids):
            if token == self.tokenizer.mask_token_id:
                top = logits[place].softmax(dim=-1).topk(min(MOST_NAMED, logits.shape[1]))
                gaps.append(ranked(self.tokens_of(top.indices.tolist()), top.values))
                filled[place] = int(top.indices[0])
        # Words that it does not know keep their places.
        left_out = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        text = self.tokenizer.decode([token for token in filled if token not in left_out])
        yield MaskAnswer(given, text, gaps, remarks=self.unknown_remark(" ".join(parts)))


class ImageClassifier(Answerer):
    """The class of an image, and where the model looks."""

    auto_class = AutoModelForImageClassification
    title = "Classify an image"
    explanation = "Give an image: see its class, how sure the model is, and where it looks."
    reads = "image"
    typed = "the name of an image file"
    column = "image"

    def prepare(self, named: Named) -> None:
        """The image processor."""
        self.processor = named.image_processor()

    def read(self, typed: str | Path) -> Image.Image:
        """The image in a file."""
        return read_image(typed)

    def examples(self, values: Sequence[Image.Image]) -> list[Image.Image]:
        """More of them: they take less room than texts."""
        return evenly_spread(values, 2 * COUNT)

    def respond(self, given: Image.Image, options: Options) -> Iterator[ImageAnswer]:
        """At once."""
        seen, remarks = in_8_bits(given, "The image")
        pixels = self.pixels(seen)
        with torch.no_grad():
            probabilities = self.model(pixels).logits[0].float().softmax(dim=-1)
        config = self.model.config
        scores = ranked([str(config.id2label[index]) for index in range(config.num_labels)], probabilities)
        yield ImageAnswer(scores[0].text, scores, self._attention(pixels), remarks=remarks)

    def pixels(self, image: Image.Image) -> torch.Tensor:
        """`(1, channels, height, width)`, as the model reads an image."""
        is_gray = getattr(self.model.config, "num_channels", 3) == 1
        return self.processor(image.convert("L" if is_gray else "RGB"), return_tensors="pt").pixel_values

    def _attention(self, pixels: torch.Tensor) -> Any:
        try:
            found = attention_maps(self.model, {"pixel_values": pixels})[0]
        except DiagnosticsError:
            return None
        rows, columns = found.grid
        weights = found.layers[-1].mean(dim=0)  # (places that look, places)
        num_extra = weights.shape[1] - rows * columns
        looks = (weights[0] if num_extra else weights.mean(dim=0))[num_extra:]
        return (looks / looks.sum()).reshape(rows, columns).tolist()
