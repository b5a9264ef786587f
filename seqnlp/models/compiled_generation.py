"""Writing by one compiled step: the first token as usual, and every other by a graph of `torch.compile`."""

import torch
from torch import nn
from transformers import Cache, CompileConfig, GenerationConfig, PreTrainedModel
from transformers.generation import GenerationMode
from transformers.masking_utils import create_masks_for_generate


LEAST_LENGTH = 128


def compile_generation(model: PreTrainedModel) -> None:
    """
    From now on `model.generate`, greedy or by sampling, writes by one compiled step; beams and drafts go their usual
    way, and so does what is written under autocast. Nothing of it is saved with the model.

    The first text takes seconds longer, and so does the first of another batch size or of twice the length; the
    tokens of a greedy text are the same, but for ties. `generate(..., compile_config=CompileConfig())` does so once.

    Args:
        model: One of ours that writes.

    Raises:
        ValueError: For another model.
    """
    if not (model.can_generate() and model.config.model_type.startswith("seqnlp_")):
        raise ValueError(f"a {type(model).__name__} is not a model of seqnlp that writes.")
    config = CompileConfig()
    config._compile_all_devices = True  # on a CPU too, which transformers leaves out
    model.generation_config.compile_config = config


def writes_compiled(model: PreTrainedModel, generation_config: GenerationConfig, mode: GenerationMode) -> bool:
    """
    Whether texts are written by a compiled step: where that is asked for, one token after the other, and not under
    autocast, by which a graph casts all weights for each token: that took 1.4 times as long as no graph at all.
    """
    return (
        generation_config.compile_config is not None
        and mode in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)
        and not torch.is_autocast_enabled(model.device.type)
    )


def fixed_length(length: int) -> int:
    """
    Room of a cache that holds `length` tokens and keeps its size: the next power of two. A graph is compiled for each
    size, and so texts of any length need few.
    """
    return max(LEAST_LENGTH, 1 << (length - 1).bit_length())


class StaticMasks:
    """For models with attention: what a new token sees in a cache of fixed size, without transformers' long way."""

    def create_masks_for_generate(
        self,
        config,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor | None,
        cache: Cache,
        **kwargs,
    ) -> torch.Tensor | dict | None:
        """
        What `generate` asks for before each step.

        Args:
            config: The model's configuration.
            inputs_embeds: `(B, T, 0)`, of which the shape is read.
            attention_mask: `(B, tokens so far)`, 0 at padding, or `None`.
            cache: Of fixed size.

        Returns:
            For one new token `(B, 1, 1, S)`, true where it looks; for a prompt what transformers makes of it.
        """
        num_rows, num_tokens = inputs_embeds.shape[:2]
        if num_tokens > 1 or config._attn_implementation not in ("eager", "sdpa"):
            return create_masks_for_generate(
                config=config,
                inputs_embeds=inputs_embeds,
                attention_mask=attention_mask,
                cache=cache,
                **kwargs,
            )
        length = cache.get_max_length()
        if attention_mask is not None:  # of all tokens so far, the new one included
            seen = nn.functional.pad(attention_mask.bool(), (0, length - attention_mask.shape[1]))
        else:
            places = torch.arange(length, device=inputs_embeds.device)
            seen = (places <= cache.get_seq_length()).expand(num_rows, -1)
        return seen[:, None, None]


__all__ = ["compile_generation"]
