"""Train a character, word, BPE, WordPiece or unigram tokenizer with the `tokenizers` library."""

import copy
import json
from collections.abc import Iterable
from typing import Literal

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from .encode import pieces_of


TokenizerType = Literal["char", "word", "bpe", "wordpiece", "unigram"]

PAD, UNK, BOS, EOS = "<pad>", "<unk>", "<s>", "</s>"
SPECIAL_TOKENS = [PAD, UNK, BOS, EOS]
MASK = "<mask>"
# How a text is divided where `<mask>` in it marks a place to fill: as `Whitespace` and `BertPreTokenizer` do it else.
_WITH_MASK = {
    "word": rf"{MASK}|\w+|(?:(?!{MASK})[^\w\s])+",
    "wordpiece": rf"{MASK}|[\p{{P}}$+<=>^`|~]|[^\s\p{{P}}$+<=>^`|~]+",
}
MASK_TYPES = tuple(_WITH_MASK)
"""The types of tokenizers that may have a `<mask>`."""
WITHOUT_SPACES = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*"


class TokenizationError(ValueError):
    """A tokenizer cannot be trained as asked; the message says why and what would do."""


def train_tokenizer(
    texts: Iterable[str],
    tokenizer_type: TokenizerType = "bpe",
    vocab_size: int = 8000,
    lowercase: bool = False,
    min_frequency: int = 1,
    add_bos_token: bool = False,
    add_eos_token: bool = False,
    extra_tokens: Iterable[str] = (),
    model_max_length: int | None = None,
    add_prefix_space: bool = False,
    add_mask_token: bool = False,
) -> PreTrainedTokenizerFast:
    """
    Train a tokenizer. Text is first normalized to NFC, so that one way to write an accent is one token.

    `<pad>`, `<unk>`, `<s>` and `</s>` are control tokens, ids 0 to 3, which only programs write: where a text itself
    holds `<s>`, those three characters are tokenized like any others.

    | type | units | unseen characters |
    | --- | --- | --- |
    | `char` | Unicode characters, white space included | `<unk>` |
    | `word` | words and punctuation marks, white space dropped (1) | unseen words become `<unk>` |
    | `bpe` | pairs (Sennrich et al. 2016, arXiv 1508.07909) of bytes (Radford et al. 2019, section 2.2) | bytes |
    | `wordpiece` | pieces of words (Schuster & Nakajima 2012; as in Devlin et al. 2019) | the word becomes `<unk>` |
    | `unigram` | pieces by a unigram language model (Kudo 2018, arXiv 1804.10959) | `<unk>` |

    (1) Of scripts that put no spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) each character.

    Args:
        texts: The training texts.
        tokenizer_type: One of the types above.
        vocab_size: Size of the vocabulary at most, special tokens included. A character or word vocabulary keeps the
            most frequent units; the subword types must have room for the whole alphabet.
        lowercase: Whether to lower-case the text.
        min_frequency: How often a unit must occur (`unigram` has no such bound).
        add_bos_token: Whether encoding puts `<s>` before each text.
        add_eos_token: Whether encoding puts `</s>` behind each text.
        extra_tokens: Further tokens that are found in the text wherever they stand and never split, e.g. `<url>`.
        model_max_length: How many tokens `truncation=True` keeps; no bound by default.
        add_prefix_space: Whether `bpe` reads the first word of a text as if a space stood before it, so that it has
            the tokens that it has elsewhere; decoding then begins with that space.
        add_mask_token: Whether there is a token 4, `<mask>`, for `word` and `wordpiece`. It is found in a text, where
            it marks a place to fill; [`read_literally`] gives the same tokenizer for texts to learn from.

    Returns:
        A fast tokenizer, which `save_pretrained` writes and `AutoTokenizer` loads without custom code.

    Raises:
        TokenizationError: For an unknown type, texts that hold no character, a vocabulary too small for the alphabet,
            and where no unit is frequent enough.
    """
    builders = {"char": _char, "word": _word, "bpe": _bpe, "wordpiece": _wordpiece, "unigram": _unigram}
    if tokenizer_type not in builders:
        raise TokenizationError(f"tokenizer_type={tokenizer_type!r} is not one of {', '.join(builders)}.")
    if add_mask_token and tokenizer_type not in _WITH_MASK:
        raise TokenizationError(f"tokenizer_type={tokenizer_type!r} has no {MASK}; {' and '.join(_WITH_MASK)} have.")
    extra_tokens = [token for token in dict.fromkeys(extra_tokens) if token not in SPECIAL_TOKENS]
    special_tokens = [*SPECIAL_TOKENS, *([MASK] if add_mask_token else []), *extra_tokens]
    if vocab_size <= len(special_tokens):
        raise TokenizationError(
            f"vocab_size={vocab_size} holds only the {len(special_tokens)} special tokens {special_tokens}: make it "
            "larger."
        )
    texts = list(texts)
    if any(not isinstance(text, str) for text in texts):
        other = next(text for text in texts if not isinstance(text, str))
        raise TokenizationError(
            f"A tokenizer is trained on strings, and one of the texts is a {type(other).__name__}."
        )
    if not any(text.strip() for text in texts):
        raise TokenizationError(
            f"A tokenizer needs text to be trained on, and the {len(texts)} texts given are empty: check the text "
            "column."
        )

    tokenizer, trainer = builders[tokenizer_type](vocab_size, min_frequency, special_tokens)
    tokenizer.normalizer = normalizer_of(lowercase)
    if add_prefix_space and tokenizer_type == "bpe":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    if tokenizer_type in ("bpe", "wordpiece", "unigram"):
        _check_alphabet(tokenizer, tokenizer_type, texts, vocab_size, len(special_tokens))
    tokenizer.train_from_iterator(pieces_of(texts, tokenizer.model), trainer)
    if tokenizer.get_vocab_size() == len(special_tokens):
        raise TokenizationError(
            f"min_frequency={min_frequency}: no unit of a {tokenizer_type} tokenizer occurs so often in the "
            f"{len(texts)} texts given, so that all of them would be unknown. Make it smaller."
        )
    if add_mask_token:  # not before: in these texts it is no mask
        divided = pre_tokenizers.Split(Regex(_WITH_MASK[tokenizer_type]), behavior="removed", invert=True)
        apart = pre_tokenizers.Split(Regex(WITHOUT_SPACES), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([apart, divided] if tokenizer_type == "word" else [divided])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in extra_tokens])
    if add_bos_token or add_eos_token:
        template = [BOS] * add_bos_token + ["$A"] + [EOS] * add_eos_token
        tokenizer.post_processor = processors.Sequence(
            [
                *([tokenizer.post_processor] if tokenizer.post_processor is not None else []),
                processors.TemplateProcessing(
                    single=" ".join(template),
                    pair=" ".join(template + [token.replace("$A", "$B") for token in template]),
                    special_tokens=[(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)],
                ),
            ]
        )
    return fast_tokenizer(tokenizer, model_max_length, **({"mask_token": MASK} if add_mask_token else {}))


def normalizer_of(lowercase: bool) -> normalizers.Normalizer:
    """What tokenizers do to a text first: NFC and, if asked, lower case."""
    return normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])])


def fast_tokenizer(
    tokenizer: Tokenizer, model_max_length: int | None, **further_tokens: str
) -> PreTrainedTokenizerFast:
    """A trained tokenizer with its control tokens, as transformers takes it; `None` for texts that are never cut."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        bos_token=BOS,
        eos_token=EOS,
        **further_tokens,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,  # the words of a text never become control tokens
        **({} if model_max_length is None else {"model_max_length": model_max_length}),
    )


def take_masks_literally(tokenizer: PreTrainedTokenizerBase) -> None:
    """
    Let a tokenizer read a text that holds `<mask>` as one to learn from, where these are six characters. A tokenizer
    that is not of [`train_tokenizer`] stays as it is.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    # Where the mask was looked for, nothing is found any more.
    content["pre_tokenizer"] = json.loads(json.dumps(content["pre_tokenizer"]).replace(MASK, "(?!)"))
    tokenizer.backend_tokenizer.pre_tokenizer = Tokenizer.from_str(json.dumps(content)).pre_tokenizer


def read_literally(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The same tokenizer for texts to learn from, see [`take_masks_literally`]."""
    tokenizer = copy.deepcopy(tokenizer)
    take_masks_literally(tokenizer)
    return tokenizer


def _char(vocab_size, min_frequency, special_tokens):
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()  # without a decoder the characters would be joined by spaces
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special_tokens, show_progress=False
    )
    return tokenizer, trainer


def _word(vocab_size, min_frequency, special_tokens):
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(WITHOUT_SPACES), behavior="isolated"), pre_tokenizers.Whitespace()]
    )
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special_tokens, show_progress=False
    )
    return tokenizer, trainer


def _bpe(vocab_size, min_frequency, special_tokens):
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # all 256 bytes: nothing is ever unknown
        show_progress=False,
    )
    return tokenizer, trainer


def _wordpiece(vocab_size, min_frequency, special_tokens):
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNK, max_input_chars_per_word=100))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=special_tokens, show_progress=False
    )
    return tokenizer, trainer


def _unigram(vocab_size, min_frequency, special_tokens):
    tokenizer = Tokenizer(models.Unigram())
    # With `<` apart, no piece that is learned from the text spells a control token.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split("<", behavior="isolated")]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size, special_tokens=special_tokens, unk_token=UNK, show_progress=False
    )
    return tokenizer, trainer


def _check_alphabet(tokenizer, tokenizer_type, texts, vocab_size, num_special_tokens) -> None:
    if tokenizer_type == "bpe":
        alphabet_size, what = 256, "bytes"
    else:
        alphabet, continuing = set(), set()
        for text in pieces_of(texts, tokenizer.model):
            for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text)):
                alphabet.update(piece)
                continuing.update(piece[1:])
        # WordPiece writes a character differently inside a word ("##a"), so it may count twice.
        alphabet_size = len(alphabet) + (len(continuing) if tokenizer_type == "wordpiece" else 0)
        what = "distinct characters (counted twice where they stand both at the start and inside of words)"
        what = what if tokenizer_type == "wordpiece" else "distinct characters"
    needed = alphabet_size + num_special_tokens
    if vocab_size < needed:
        raise TokenizationError(
            f"vocab_size={vocab_size} is smaller than the alphabet: {tokenizer_type} needs {needed} here, for "
            f"{alphabet_size} {what} and {num_special_tokens} special tokens. Make it larger, or use "
            "tokenizer_type='char' or 'word'."
        )
