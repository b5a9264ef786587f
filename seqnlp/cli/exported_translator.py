"""`seqnlp translate` by an export for CTranslate2, in the place of the model."""

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from ..export.base import MANIFEST, TARGET_TOKENIZER, ExportError
from ..export.ctranslate2 import CTranslate2Export, load_ctranslate2
from ..extras import install
from ..tasks.file_translation import TranslatedLine


def exported_target(folder: Path) -> str | None:
    """The target that an export in this folder was made for; `None` where there is no export."""
    try:
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["target"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


class CTranslate2Engine:
    """
    Translates by a folder of `seqnlp export --to ctranslate2`, as `Engine` of [`translate_lines`] does.

    Args:
        folder: The export.
        num_beams: Beams; 1 if not given, as nothing of the model's own habits is in an export.
        length_penalty: Of beams.
        max_new_tokens: Tokens of a translation at most; twice the source's and 20 by default.

    Raises:
        ExportError: If it is no translator, or ctranslate2 is not installed.
    """

    def __init__(
        self,
        folder: Path,
        num_beams: int = 1,
        length_penalty: float | None = None,
        max_new_tokens: int | None = None,
    ):
        if importlib.util.find_spec("ctranslate2") is None:
            raise ExportError(f"{folder} is an export for CTranslate2: {install(CTranslate2Export.extra)} to run it.")
        try:
            self.translator = load_ctranslate2().Translator(
                str(folder), device="auto", inter_threads=1, intra_threads=torch.get_num_threads()
            )
        except RuntimeError as error:
            raise ExportError(f"{folder}: it is no translator that CTranslate2 can load: {error}.") from error
        self.folder, self.num_beams, self.max_new_tokens = folder, num_beams, max_new_tokens
        self.how = {"beam_size": num_beams} | ({} if length_penalty is None else {"length_penalty": length_penalty})
        self.source = _literal_tokenizer(folder)
        has_second = (folder / TARGET_TOKENIZER).is_dir()
        self.target = _literal_tokenizer(folder / TARGET_TOKENIZER) if has_second else self.source
        self.end = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("eos_token")

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text."""
        return [len(encoding.ids) for encoding in self.source.encode_batch(list(texts))]

    def translate(self, texts: list[str]) -> list[TranslatedLine]:
        """The translations of a batch; each is as long at most as it would be alone."""
        tokens = [encoding.tokens for encoding in self.source.encode_batch(texts)]
        bounds = [self.max_new_tokens or 2 * len(text) + 20 for text in tokens]
        results = self.translator.translate_batch(
            tokens, max_input_length=0, max_decoding_length=max(bounds), return_end_token=True, **self.how
        )
        found = []
        for result, bound in zip(results, bounds, strict=True):
            written = result.hypotheses[0][:bound]
            ids = [self.target.token_to_id(token) for token in written if token != self.end]
            text = self.target.decode([token for token in ids if token is not None]).strip()
            found.append(TranslatedLine(text, self.end in written))
        return found

    def describe(self) -> dict[str, Any]:
        """The weights and how they are used."""
        with (self.folder / "model.bin").open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        return {"export": weights, "max_new_tokens": self.max_new_tokens, **self.how}


def _literal_tokenizer(folder: Path) -> Tokenizer:
    """In a text the words of control tokens are words."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
