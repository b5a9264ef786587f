"""Configuration of the Vision Transformer: images as sequences of patches."""

# First, since it says what is missing before another import fails.
from .requirements import LAYER_PLAN, check_architecture, derive_sizes, fit_plans, ranged


# isort: split
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class VisionTransformerConfig(PreTrainedConfig):
    r"""
    Sizes and parts of a [`VisionTransformerModel`] and of the classifier on top of it.

    The defaults are ViT-Base/16 (Dosovitskiy et al. 2021, arXiv 2010.11929, table 1).

    Args:
        image_size: Height and width of the images, or one number for both.
        patch_size: Height and width of a patch, or one number for both; patches tile the image.
        num_channels: Number of channels of a pixel.
        hidden_size: Width of a patch's vector from layer to layer.
        intermediate_size: Width inside the feed-forward; `None` means four times `hidden_size`, or 8/3 times for
            SwiGLU, which has three matrices where the others have two.
        num_hidden_layers: Number of layers.
        num_attention_heads: Number of heads that ask.
        num_key_value_heads: Number of heads that answer, each shared by neighboring query heads (Ainslie et al. 2023,
            arXiv 2305.13245); `None` for one per query head.
        head_dim: Width of a head; `None` means `hidden_size / num_attention_heads`.
        hidden_act: The feed-forward: `"relu"`, `"gelu"` or `"swiglu"` (Shazeer 2020, arXiv 2002.05202).
        position_embedding_type: `"learned"`, `"sinusoidal"` (Vaswani et al. 2017) in reading order, or `"none"`: then
            an image is a bag of patches (appendix D.4, table 8).
        norm_type: `"layer_norm"` (Ba et al. 2016) or `"rms_norm"` (Zhang & Sennrich 2019, arXiv 1910.07467).
        norm_position: `"pre"`, before each sublayer (equations 2 and 3), or `"post"`, behind its residual connection.
        layer_norm_eps: What is added to the variance in a norm of either type.
        use_bias: Whether the linear maps of attention and feed-forward, and LayerNorm, add a bias.
        dropout: Probability of zeroing a component of the embeddings and of each sublayer's output.
        attention_dropout: The same for an attention weight.
        activation_dropout: The same inside the feed-forward.
        head_dropout: The same for what the classifier reads.
        pooling: What the classifier reads: the state of a learned `"class_token"` before the patches (equation 4), or
            the `"mean"` of the patches' states, without such a token (appendix D.3).
        label_smoothing: Share of each label that the training loss spreads over the classes (Szegedy et al. 2016,
            arXiv 1512.00567, section 7); evaluation has none.
        initializer_range: Standard deviation of all weights at the start.

    Raises:
        ValueError: For numbers out of the range of their field and patches that do not tile the image.
    """

    model_type = "seqnlp_vision_transformer"
    base_model_tp_plan = LAYER_PLAN

    image_size: int | list[int] | tuple[int, int] = 224
    patch_size: int | list[int] | tuple[int, int] = 16
    num_channels: int = ranged(3, "[1, inf)")
    hidden_size: int = ranged(768, "[1, inf)")
    intermediate_size: int | None = ranged(None, "[1, inf)")
    num_hidden_layers: int = ranged(12, "[1, inf)")
    num_attention_heads: int = ranged(12, "[1, inf)")
    num_key_value_heads: int | None = ranged(None, "[1, inf)")
    head_dim: int | None = ranged(None, "[1, inf)")
    hidden_act: Literal["relu", "gelu", "swiglu"] = "gelu"
    position_embedding_type: Literal["learned", "sinusoidal", "none"] = "learned"
    norm_type: Literal["layer_norm", "rms_norm"] = "layer_norm"
    norm_position: Literal["pre", "post"] = "pre"
    layer_norm_eps: float | int = ranged(1e-6, "(0, inf)")
    use_bias: bool = True
    dropout: float | int = ranged(0.1, "[0, 1)")
    attention_dropout: float | int = ranged(0.0, "[0, 1)")
    activation_dropout: float | int = ranged(0.0, "[0, 1)")
    head_dropout: float | int = ranged(0.0, "[0, 1)")
    pooling: Literal["class_token", "mean"] = "class_token"
    label_smoothing: float | int = ranged(0.0, "[0, 1)")
    initializer_range: float | int = ranged(0.02, "[0, 100]")

    def __post_init__(self, **kwargs):
        derive_sizes(self)
        fit_plans(self)
        super().__post_init__(**kwargs)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of an image."""
        return (self.image_size,) * 2 if isinstance(self.image_size, int) else tuple(self.image_size)

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch."""
        return (self.patch_size,) * 2 if isinstance(self.patch_size, int) else tuple(self.patch_size)

    @property
    def max_position_embeddings(self) -> int:
        """Number of positions: one for each patch and one for the class token if there is one."""
        (height, width), (patch_height, patch_width) = self.image_shape, self.patch_shape
        return (height // patch_height) * (width // patch_width) + (self.pooling == "class_token")

    def validate_architecture(self):
        """Refuse values that cannot be built, and combinations that mean nothing, with the reason."""
        for name, shape in (("image_size", self.image_shape), ("patch_size", self.patch_shape)):
            if len(shape) != 2 or min(shape) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be one or two numbers of at least 1.")
        if any(side % part for side, part in zip(self.image_shape, self.patch_shape, strict=True)):
            raise ValueError(
                f"Patches of patch_size={self.patch_size} do not tile an image of image_size={self.image_size}: "
                "choose a divisor."
            )
        check_architecture(self)


__all__ = ["VisionTransformerConfig"]
