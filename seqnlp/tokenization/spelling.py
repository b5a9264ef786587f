"""A tokenizer that spells: each word by its characters, of which the first is told from those that continue it."""

from collections import Counter
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from .train import SPECIAL_TOKENS, UNK, WITHOUT_SPACES, TokenizationError, fast_tokenizer, normalizer_of


CONTINUING = "##"
LONGEST_WORD = 100  # characters; longer ones are unknown, as in BERT's tokenizer
_WORD = r"[\p{L}\p{M}\p{N}_]"
_NO_WORD = r"[^\p{L}\p{M}\p{N}_\s]"
# In this order: U.S., a short ending such as 's, a word with single marks inside (e-mail, 5:30), a run of one mark.
_WORDS = "|".join(
    [
        r"(?:\p{L}\.){2,}",
        rf"['\u2019]\p{{L}}{{1,2}}(?!{_WORD})",
        rf"[@#]?{_WORD}+(?:{_NO_WORD}{_WORD}+)*",
        rf"({_NO_WORD})\1*",
    ]
)


def train_spelling_tokenizer(
    texts: Iterable[str], lowercase: bool = False, min_frequency: int = 1, model_max_length: int | None = None
) -> PreTrainedTokenizerFast:
    """
    A tokenizer whose tokens are characters: `c`, `##a`, `##t` for `cat`. Text is first normalized to NFC.

    Words are divided at white space, and marks at their ends stand alone; in scripts that put no spaces between words
    each character is a word. A word with a character that is in no training text, or with more than 100 characters, is
    `<unk>`.

    Args:
        texts: The training texts.
        lowercase: Whether to lower-case the text.
        min_frequency: How often a character must occur.
        model_max_length: How many tokens `truncation=True` keeps; no bound by default.

    Returns:
        A fast tokenizer, which `save_pretrained` writes and `AutoTokenizer` loads without custom code. The tokens that
        continue a word are the last ones, see [`first_continuing_id`].

    Raises:
        TokenizationError: For texts without a character.
    """
    normalizer = normalizer_of(lowercase)
    counts = Counter(character for text in texts for character in normalizer.normalize_str(text))
    kept = sorted(c for c, count in counts.items() if count >= min_frequency and not c.isspace())
    if not kept:
        raise TokenizationError("A tokenizer needs text to be trained on, and there is no character in these texts.")
    tokens = [*SPECIAL_TOKENS, *kept, *(CONTINUING + character for character in kept)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.WordPiece(
            vocabulary,
            unk_token=UNK,
            continuing_subword_prefix=CONTINUING,
            max_input_chars_per_word=LONGEST_WORD,
        )
    )
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WITHOUT_SPACES), behavior="isolated"),
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
        ]
    )
    tokenizer.decoder = decoders.WordPiece(prefix=CONTINUING, cleanup=False)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    return fast_tokenizer(tokenizer, model_max_length)


def is_spelling(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer is one of [`train_spelling_tokenizer`]: all its tokens are characters."""
    ordinary = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    return any(map(_continues, ordinary)) and all(len(token) == 1 or _continues(token) for token in ordinary)


def first_continuing_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """The first token of a tokenizer of [`train_spelling_tokenizer`] that continues a word; so do all after it."""
    return min(number for token, number in tokenizer.get_vocab().items() if _continues(token))


def _continues(token: str) -> bool:
    return len(token) == len(CONTINUING) + 1 and token.startswith(CONTINUING)
