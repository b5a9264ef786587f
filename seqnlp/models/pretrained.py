"""What every model here is: a `PreTrainedModel` whose weights lie, once loaded, where new ones lie."""

import torch
from torch import nn
from transformers import Cache, PreTrainedModel
from transformers.utils.deprecation import deprecate_kwarg

from .compiled_generation import StaticMasks, fixed_length, writes_compiled


# Where torch's own allocator puts what it allocates on a CPU, in bytes.
ALIGNMENT = 64
# PEFT's prefixes, among others, still give a cache by its name before transformers 5.24, whose own models take it too.
# Of two caches, as PEFT 0.21 and `generate` give them together, those read one, and the prefix would be lost.
takes_past_key_values = deprecate_kwarg("past_key_values", "5.40.0", new_name="cache", raise_if_both_names=True)


class BasePreTrainedModel(PreTrainedModel):
    """
    What all models share: flags, and that a loaded model computes what the saved one did, to the bit.

    transformers leaves weights where they stand in the file, which it maps into memory, and there a matrix begins
    anywhere. BLAS takes another road through such a matrix, and the last bit of its products differs. So weights are
    moved to aligned memory once they are loaded.
    """

    base_model_prefix = "model"
    supports_gradient_checkpointing = True

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """As `PreTrainedModel.from_pretrained`."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info=True there is more
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.device.type == "cpu" and parameter.data_ptr() % ALIGNMENT:
                    parameter.data = parameter.data.clone()
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if hasattr(module, "start_own_tensors"):  # a cell, whose file a model without cells does without
            module.start_own_tensors()

    def check_keeps_past(self) -> None:
        """
        Refuse to go on token by token where transformers keeps nothing of the tokens before.

        Raises:
            ValueError: In training with gradient checkpointing.
        """
        if self.training and self.is_activation_checkpointing:
            raise ValueError(
                "In training with gradient checkpointing nothing is kept of the tokens or steps before: call "
                "model.eval() first, or model.activation_checkpointing_disable()."
            )

    def embed(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None, prefix: str = ""
    ) -> torch.Tensor:
        """
        The `(B, T, size)` vectors of `(B, T)` tokens, unless they are given instead of them.

        Raises:
            ValueError: If not exactly one of the two is given, for texts without tokens, and if there are no
                embeddings for tokens; with `prefix` before the names of the arguments.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError(f"Give exactly one of {prefix}input_ids and {prefix}inputs_embeds.")
        given, name = (input_ids, "input_ids") if inputs_embeds is None else (inputs_embeds, "inputs_embeds")
        if given.shape[1] == 0:
            raise ValueError(
                f"{prefix}{name} of shape {tuple(given.shape)} has no tokens: give at least one per text, a token to "
                "begin with or padding."
            )
        if inputs_embeds is not None:
            return inputs_embeds
        if self.embed_tokens is None:
            raise ValueError(
                f"This model reads numbers (input_size={self.config.input_size}) and has no embeddings for "
                "input_ids: give inputs_embeds, or past_values to a model for time series prediction."
            )
        return self.embed_tokens(input_ids)


class AttentionPreTrainedModel(StaticMasks, BasePreTrainedModel):
    """What all Transformers share: flags. transformers draws their weights, normal with `initializer_range`."""

    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _can_compile_fullgraph = True

    def create_cache(self, length: int | None = None) -> Cache:
        """An empty cache of the kind that this model goes on from, if it writes; of fixed size if that is given."""
        raise NotImplementedError

    def _prepare_cache_for_generation(
        self, generation_config, model_kwargs, generation_mode, batch_size, max_cache_length
    ) -> None:
        if generation_config.use_cache:
            self.check_keeps_past()
        # transformers would hand over a cache that copies all it holds for each token, and never a compiled step.
        is_usual = generation_config.cache_implementation in (None, "dynamic") and generation_config.use_cache
        if not is_usual or model_kwargs.get("cache") is not None:
            return super()._prepare_cache_for_generation(
                generation_config, model_kwargs, generation_mode, batch_size, max_cache_length
            )
        is_compiled = writes_compiled(self, generation_config, generation_mode)
        model_kwargs["cache"] = self.create_cache(fixed_length(max_cache_length) if is_compiled else None)
