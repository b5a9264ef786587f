"""What a language model reads before a text."""

from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast


def put_bos_first(tokenizer: PreTrainedTokenizerFast) -> None:
    """
    Let a tokenizer put `<s>`, or what it has for it, before each text, once, and nothing behind: as the texts of a
    language model's training begin. So a pipeline, a server or an exported program begins a prompt likewise; without
    `<s>` its first tokens are predicted worse.

    A class of transformers that makes its own template whenever it is loaded, such as RoBERTa's, has that again then.
    """
    name = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=[name, "$A"], pair=[name, "$A", "$B"], special_tokens=[(name, tokenizer.bos_token_id)]
    )
