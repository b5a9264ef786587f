"""What a model costs: floating-point operations of a forward pass, counted operation by operation."""

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedConfig, PreTrainedModel

from .. import models


class CostsError(ValueError):
    """A model whose cost cannot be counted."""


def class_of(name: str) -> type[PreTrainedModel]:
    """
    A model class of seqnlp or transformers by the name that `run.json` gives.

    Raises:
        CostsError: If there is none.
    """
    if name in models.__all__:
        return getattr(models, name)
    found = getattr(transformers, name, None)
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        raise CostsError(f"There is no model class {name!r} in seqnlp or transformers, so its cost cannot be counted.")
    return found


def unit_read(model_class: type[PreTrainedModel]) -> str:
    """What the texts or series that a model reads consist of: tokens, or steps."""
    return "steps" if model_class.main_input_name == "past_values" else "tokens"


def count_flops(model_class: type[PreTrainedModel], config: PreTrainedConfig, length: int) -> int:
    """
    Floating-point operations of a forward pass over one text of `length` tokens (or one series of as many steps); a
    training step takes about three times as many per text.

    Matrix products alone are counted, two operations per product of two numbers, as torch's counter does: activations,
    norms and the gates' element-wise products are left out. torch's counter does not look into the kernels of
    recurrent nets or of fused attention, so recurrences are counted as loops and attention as matrix products. Our
    models of texts are counted on the meta device, where nothing is computed. Where words are read of their spelling,
    each token is counted as a word: the most that so many tokens can take, as the layers take a step for each word.

    Args:
        model_class: The model's class.
        config: Its configuration.
        length: Tokens of source and target alike in an encoder-decoder.
    """
    config = type(config)(**{name: value for name, value in config.to_diff_dict().items() if name[0] != "_"})
    if hasattr(config, "recurrence_implementation"):
        config.recurrence_implementation = "eager"
    config._attn_implementation = "eager"
    config.use_cache = False
    of_series = unit_read(model_class) == "steps"
    num_beginning = getattr(config, "first_continuing_id", None)  # tokens that begin a word
    # The gaps of a series, the words of tokens, and padding in many models of others, are looked at: needs values.
    needs_values = of_series or num_beginning or model_class.__name__ not in models.__all__
    with torch.device("cpu" if needs_values else "meta"):
        model = model_class(config).eval()
        tokens = torch.arange(length)[None] % (num_beginning or 1)
        if of_series:
            # In training every step but the last is read, and each is answered.
            values = torch.zeros(1, length + 1, config.input_size)
            inputs = {"past_values": values[:, :length], "future_values": values[:, length:]}
            model.train()
        elif config.is_encoder_decoder:
            inputs = {"input_ids": tokens, "decoder_input_ids": tokens}
        else:
            inputs = {"input_ids": tokens}
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(**inputs)
    return counter.get_total_flops()
