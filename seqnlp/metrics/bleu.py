"""BLEU and chrF, computed by sacrebleu, and what they say of a model's translations."""

import importlib.util
import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import numpy as np
from sacrebleu.metrics import BLEU as SacreBLEU
from sacrebleu.metrics import CHRF as SacreCHRF
from tabulate import tabulate

from .score import ONE_SENTENCE, OfflineMetric, Score
from .spread import NUM_RESAMPLES
from .words import count_words


_INPUTS = """
Args:
    predictions: The translations, as plain text.
    references: For each of them the right translation, or a list of right ones.
"""
MOSES = "moses:"
RESAMPLING_SEED = 12345  # of sacrebleu
SENTENCES_AT_ONCE = 5_000
BLEU_TOKENIZERS = ("13a", "intl", "zh", "ja-mecab", "ko-mecab", "char")
"""sacrebleu's tokenizers that need no network; Japanese and Korean need `sacrebleu[ja]` and `sacrebleu[ko]`."""

# By language, and by the letters of a text where the language is not known.
_BY_LANGUAGE = {"zh": "zh", "zho": "zh", "ja": "ja-mecab", "jpn": "ja-mecab", "ko": "ko-mecab", "kor": "ko-mecab"}
_BY_LANGUAGE |= dict.fromkeys(("th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bo", "bod", "dz", "dzo"), "char")
_BY_SCRIPT = {
    "ja-mecab": re.compile(r"[\u3040-\u30ff]"),
    "ko-mecab": re.compile(r"[\uac00-\ud7a3\u1100-\u11ff]"),
    "zh": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]"),
    "char": re.compile(r"[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff]"),
}
_SCRIPT_SHARE = 0.1  # of kana among the characters of Japanese, at least; Chinese quotes less
# What each needs: the module, and what installs it.
_NEEDS = {"ja-mecab": ("MeCab", "sacrebleu[ja]"), "ko-mecab": ("mecab_ko", "sacrebleu[ko]")}
_SACREBLEU = "sacrebleu, signature {signature}"


def _percent(key: str, name: str, type: str) -> Score:
    """A corpus score in percent, as sacrebleu gives it."""
    return Score(
        key,
        name,
        _SACREBLEU,
        greater_is_better=True,
        unit="%",
        digits=2,
        weight_of_an_example=ONE_SENTENCE,
        is_of_texts=True,
        type=type,
    )


class _TextMetric(OfflineMetric):
    """What compares texts with references."""

    inputs = _INPUTS
    columns = [
        datasets.Features({"predictions": datasets.Value("string"), "references": references})
        for references in (datasets.Value("string"), datasets.Sequence(datasets.Value("string")))
    ]


class BLEU(_TextMetric):
    """
    BLEU (Papineni et al. 2002) of a corpus, as sacrebleu's command line gives it (Post 2018, arXiv 1804.08771).

    `compute(..., lowercase=False, tokenize="13a")`; `tokenize` is one of sacrebleu's tokenizers, or `moses:LANGUAGE`
    for BLEU over Moses tokens of text whose punctuation is normalized, as papers gave it before there was sacrebleu.
    The result holds `bleu` in percent and the `signature` that says how it was computed; with `num_resamples`, also
    `interval`, half the width of the 95 % interval over that many samples of the sentences, drawn with replacement
    (Koehn 2004, W04-3250); one sentence alone has none.
    """

    scores = (
        _percent("bleu", "BLEU", "bleu"),
        _percent("bleu_lowercase", "BLEU, lower-cased", "bleu"),
        _percent("bleu_lowercase_moses", "BLEU, lower-cased Moses tokens", "bleu"),
    )

    def _compute(
        self, predictions, references, lowercase: bool = False, tokenize: str = "13a", num_resamples: int = 0
    ) -> dict[str, Any]:
        moses = tokenize.removeprefix(MOSES) if tokenize.startswith(MOSES) else None
        streams = _streams(references)
        if moses is not None:
            # Lower case first, as the tokens of Multi30k were made.
            predictions = moses_tokens(predictions, moses, lowercase)
            streams = [moses_tokens(stream, moses, lowercase) for stream in streams]
        # force: sacrebleu would else warn of what looks tokenized, which here it may.
        metric = SacreBLEU(lowercase=lowercase, tokenize="none" if moses else tokenize, force=True)
        result = _score(metric, "bleu", predictions, streams, num_resamples)
        if moses is not None:
            import sacremoses

            tokens = f"tok:moses-{moses}-sacremoses-{sacremoses.__version__}"
            result["signature"] = result["signature"].replace("tok:none", tokens)
        return result


class _PlainCHRF(SacreCHRF):
    """sacrebleu cannot average its samples where some score nothing: those are floats and the others NumPy's."""

    def _compute_f_score(self, statistics: list[int]) -> float:
        return float(super()._compute_f_score(statistics))


class ChrF(_TextMetric):
    """
    chrF2 (Popović 2015, 2016) of a corpus: an F-score over character n-grams, as sacrebleu's command line gives it.

    The result holds `chrf` in percent and its `signature`; with `num_resamples`, also its `interval`, as BLEU has it.
    """

    scores = (_percent("chrf", "chrF", "chrf"),)

    def _compute(self, predictions, references, lowercase: bool = False, num_resamples: int = 0) -> dict[str, Any]:
        return _score(_PlainCHRF(lowercase=lowercase), "chrf", predictions, _streams(references), num_resamples)


def _score(metric, name: str, predictions, streams: list[list[str]], num_resamples: int) -> dict[str, Any]:
    # What its `corpus_score` does; that holds the n-grams of all references and the statistics of all samples at once,
    # of 100,000 sentences gigabytes.
    statistics, nums_refs = [], set()
    for start in range(0, len(predictions), SENTENCES_AT_ONCE):
        here = slice(start, start + SENTENCES_AT_ONCE)
        statistics += metric._extract_corpus_statistics(predictions[here], [stream[here] for stream in streams])
        nums_refs.add(metric.num_refs)
    metric.num_refs = nums_refs.pop() if len(nums_refs) == 1 else -1  # -1 stands for several, as in sacrebleu
    score = metric._aggregate_and_compute(statistics)
    result = {name: score.score, "signature": str(metric.get_signature())}
    if num_resamples and len(statistics) > 1:
        score.estimate_ci([metric._compute_score_from_stats(one) for one in _resampled(statistics, num_resamples)])
        as_json = json.loads(score.format(width=6, signature=result["signature"], is_json=True))
        # sacrebleu leaves the interval out where every sample scores nothing.
        result["interval"] = as_json.get("confidence_var", 0.0)
    return result


def _resampled(statistics: list[list[float]], count: int) -> Iterator[np.ndarray]:
    """The sums of the sentences' statistics over each of the samples that sacrebleu draws, in its float32."""
    columns = np.array(statistics, dtype=np.float64)
    generator = np.random.default_rng(RESAMPLING_SEED)
    for _ in range(count):
        times = np.bincount(generator.choice(len(columns), size=len(columns)), minlength=len(columns))
        yield (times @ columns).astype(np.float32)


def moses_tokens(texts: Sequence[str], language: str, lowercase: bool = False) -> list[str]:
    """Texts with normalized punctuation and a space between any two Moses tokens."""
    import sacremoses  # slow to import, and needed where Moses tokens are asked for alone

    normalizer, tokenizer = sacremoses.MosesPunctNormalizer(language), sacremoses.MosesTokenizer(language)
    texts = [text.lower() for text in texts] if lowercase else texts
    return [tokenizer.tokenize(normalizer.normalize(text), return_str=True) for text in texts]


def bleu_tokenizer(language: str, references: Sequence[str]) -> str:
    """
    The tokenizer of sacrebleu by which BLEU is computed where nothing else is said: the one that it has for the
    language (Chinese, Japanese, Korean), characters for other languages that put no spaces between words, and else
    `13a`. Where the tokenizer of Japanese or Korean is not installed, characters take its place.

    Args:
        language: Code of the target's language; where it is none of these, the letters of the references tell, since
            a column may be called `cmn` or `tgt`.
        references: The right translations.
    """
    code = language.lower().replace("_", "-").split("-")[0]
    name = _BY_LANGUAGE.get(code)
    if name is None:
        text = "".join(references)
        letters = sum(map(str.isalpha, text)) or 1
        shares = {kind: len(pattern.findall(text)) / letters for kind, pattern in _BY_SCRIPT.items()}
        if sum(shares.values()) >= 0.5:
            name = next(kind for kind, share in shares.items() if share >= _SCRIPT_SHARE)
    if name and lacking_package(name):
        return "char"
    return name or "13a"


def lacking_package(tokenizer: str) -> str | None:
    """What `pip install` must be given for this one of [`BLEU_TOKENIZERS`] to work; `None` if nothing is lacking."""
    module, package = _NEEDS.get(tokenizer, (None, None))
    return package if module and importlib.util.find_spec(module) is None else None


def translation_scores(
    sources: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[str],
    target_language: str,
    tokenizer: str | None = None,
) -> dict[str, Any]:
    """
    Every score of a split: `bleu`, the same in lower case and, for languages with spaces between words, over
    lower-cased Moses tokens, `chrf`, the `intervals` (half the width of each one's 95 % interval over samples of the
    sentences) and `signatures` of these, and `bleu_by_source_length` in lower case.

    Args:
        sources: The sentences that were translated.
        predictions: Their translations.
        references: The right translations.
        target_language: Language code of the target; Moses treats an unknown one as English.
        tokenizer: One of [`BLEU_TOKENIZERS`]; by default what [`bleu_tokenizer`] says.
    """
    settings = {"predictions": list(predictions), "references": list(references), "num_resamples": NUM_RESAMPLES}
    tokenizer = tokenizer or bleu_tokenizer(target_language, references)
    computed = {
        "bleu": BLEU().compute(**settings, tokenize=tokenizer),
        "bleu_lowercase": BLEU().compute(**settings, lowercase=True, tokenize=tokenizer),
    }
    if tokenizer == "13a":
        moses = f"{MOSES}{target_language}"
        computed["bleu_lowercase_moses"] = BLEU().compute(**settings, lowercase=True, tokenize=moses)
    computed["chrf"] = ChrF().compute(**settings)
    scores: dict[str, Any] = {name: result["chrf" if name == "chrf" else "bleu"] for name, result in computed.items()}
    scores["intervals"] = {name: result["interval"] for name, result in computed.items() if "interval" in result}
    scores["signatures"] = {name: result["signature"] for name, result in computed.items()}
    scores["bleu_by_source_length"] = bleu_by_source_length(sources, predictions, references, tokenizer)
    return scores


def bleu_by_source_length(
    sources: Sequence[str],
    predictions: Sequence[str],
    references: Sequence[str],
    tokenizer: str = "13a",
    width: int = 5,
    min_sentences: int = 20,
) -> list[dict[str, Any]]:
    """
    Lower-cased BLEU of the sentences whose source has up to 5, 6 to 10, ... words: where a model that squeezes each
    sentence into one vector fails (Cho et al. 2014, arXiv 1409.1259, figure 4; Bahdanau et al. 2015, figure 2).

    Args:
        sources: The sentences that were translated; words are what [`count_words`] counts.
        predictions: Their translations.
        references: The right translations.
        tokenizer: By which BLEU is computed, see [`BLEU_TOKENIZERS`].
        width: Words that a bin spans.
        min_sentences: A bin with fewer is joined to the one before it, the first to the one behind it.

    Returns:
        For each bin `from` and `to` (words, both included), `sentences` and `bleu`.
    """
    bins: list[dict[str, Any]] = []
    lengths = [count_words(source) for source in sources]
    for start in range(1, max(lengths, default=0) + 1, width):
        rows = [row for row, length in enumerate(lengths) if start <= max(length, 1) < start + width]
        if bins and (len(rows) < min_sentences or len(bins[-1]["rows"]) < min_sentences):
            bins[-1]["to"] = start + width - 1
            bins[-1]["rows"] += rows
        else:
            bins.append({"from": start, "to": start + width - 1, "rows": rows})
    for item in bins:
        rows = item.pop("rows")
        texts = {"predictions": [predictions[row] for row in rows], "references": [references[row] for row in rows]}
        item["sentences"], item["bleu"] = (
            len(rows),
            BLEU().compute(**texts, lowercase=True, tokenize=tokenizer)["bleu"],
        )
    return bins


def translation_report(
    split: str,
    pairs: datasets.Dataset,
    predictions: Sequence[str],
    scores: dict[str, Any],
    num_examples: int = 8,
    seed: int = 0,
) -> str:
    """
    The scores of a split, and a few of its sources with their references and translations, as text to print.

    Args:
        split: Its name.
        pairs: Columns `source` and `target`.
        predictions: The translations, in the order of the pairs.
        scores: What [`translation_scores`] gave.
        num_examples: How many are shown, drawn at random.
        seed: Fixes which.
    """
    rows = random.Random(seed).sample(range(len(pairs)), min(num_examples, len(pairs)))
    examples = [(pairs[row]["source"], pairs[row]["target"], predictions[row]) for row in rows]
    names = {
        "bleu": "BLEU",
        "bleu_lowercase": "BLEU, lower case",
        "bleu_lowercase_moses": "BLEU, lower case, Moses tokens",
        "chrf": "chrF2",
    }
    around = {name: f" ± {interval:.2f}" for name, interval in scores["intervals"].items()}
    compared = [
        [text, f"{scores[name]:.2f}{around.get(name, '')}", scores["signatures"][name]]
        for name, text in names.items()
        if name in scores
    ]
    headers = ["source", "reference", "translation"]
    parts = [
        f"{split.capitalize()}: {len(pairs):,} sentences",
        tabulate(compared, headers=["score", "%", "signature"], disable_numparse=True),
        tabulate(examples, headers=headers, tablefmt="grid", maxcolwidths=36, disable_numparse=True),
    ]
    return "\n\n".join(parts)


def _streams(references: Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """From the references of each sentence to what sacrebleu takes: one list of all sentences a reference."""
    if isinstance(references[0], str):
        return [list(references)]
    if len({len(several) for several in references}) > 1:
        raise ValueError("Every translation needs the same number of references.")
    return [list(stream) for stream in zip(*references, strict=True)]
