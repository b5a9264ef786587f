"""The Vision Transformer (Dosovitskiy et al. 2021, arXiv 2010.11929): an image is a sequence of patches."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .attention import MultiHeadAttention
from .configuration_vision_transformer import VisionTransformerConfig
from .heads import ImageClassifier
from .positions import Positions
from .pretrained import AttentionPreTrainedModel
from .transformer_layers import EncoderLayer, create_final_norm


class PatchEmbeddings(nn.Module):
    """
    The patches' pixels through a linear map, behind the class token if there is one (equation 1, less the positions).
    """

    def __init__(self, config: VisionTransformerConfig):
        super().__init__()
        self.config = config
        # A convolution whose window steps by its own size is the same linear map for each patch.
        self.projection = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=config.patch_shape, stride=config.patch_shape
        )
        has_class_token = config.pooling == "class_token"
        self.class_token = nn.Parameter(torch.zeros(config.hidden_size)) if has_class_token else None

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """
        From `(B, num_channels, height, width)` pixels to `(B, T, hidden_size)`.

        Raises:
            ValueError: For images of another shape than the config's.
        """
        expected = (self.config.num_channels, *self.config.image_shape)
        if tuple(pixel_values.shape[1:]) != expected:
            raise ValueError(
                f"pixel_values of shape {tuple(pixel_values.shape)} are not (batch_size, channels, height, width) "
                f"with {expected} as the config says: resize the images, or set num_channels and image_size."
            )
        patches = self.projection(pixel_values.to(self.projection.weight.dtype))  # (B, hidden_size, rows, columns)
        patches = patches.flatten(2).transpose(1, 2)  # (B, rows * columns, hidden_size)
        if self.class_token is None:
            return patches
        return torch.cat([self.class_token.expand(patches.shape[0], 1, -1), patches], dim=1)


class VisionTransformerPreTrainedModel(AttentionPreTrainedModel):
    """What the models of images share: initialization and flags."""

    config: VisionTransformerConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _no_split_modules = ["PatchEmbeddings", "EncoderLayer"]
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": EncoderLayer, "attentions": MultiHeadAttention}
    _input_embed_layer = "patch_embeddings"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PatchEmbeddings) and module.class_token is not None:
            init.normal_(module.class_token, std=self.config.initializer_range)


class VisionTransformerModel(VisionTransformerPreTrainedModel):
    """Embedded patches with their positions through the encoder's layers (section 3.1, equations 1 to 3)."""

    def __init__(self, config: VisionTransformerConfig):
        super().__init__(config)
        self.patch_embeddings = PatchEmbeddings(config)
        self.positions = Positions(config)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([EncoderLayer(config, index) for index in range(config.num_hidden_layers)])
        self.norm = create_final_norm(config)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self, pixel_values: torch.FloatTensor | None = None, **kwargs: Unpack[TransformersKwargs]
    ) -> BaseModelOutput:
        """
        Args:
            pixel_values: `(batch_size, num_channels, height, width)`, as an image processor gives them.

        Returns:
            `last_hidden_state`, `(batch_size, num_patches, hidden_size)`, with one more in front for a class token.

        Raises:
            ValueError: Without `pixel_values`, and for images of another shape than the config's.
        """
        if pixel_values is None:
            raise ValueError("Give pixel_values, e.g. those that an image processor makes.")
        hidden_states = self.patch_embeddings(pixel_values)
        position_ids = torch.arange(hidden_states.shape[1], device=hidden_states.device).unsqueeze(0)
        hidden_states, _ = self.positions(hidden_states, position_ids)
        hidden_states = self.dropout(hidden_states)
        for layer in self.layers:
            hidden_states = layer(hidden_states, **kwargs)
        return BaseModelOutput(last_hidden_state=self.norm(hidden_states))


class VisionTransformerForImageClassification(ImageClassifier, VisionTransformerPreTrainedModel):
    """A label for an image: the class token's state, or the patches' mean, and a linear map (section 3.1)."""

    def __init__(self, config: VisionTransformerConfig):
        super().__init__(config)
        self.model = VisionTransformerModel(config)
        self.add_classifier(config.hidden_size)
        self.post_init()

    def pool(self, hidden_states, attention_mask):
        """The class token stands first; without one the mean."""
        return hidden_states[:, 0] if self.config.pooling == "class_token" else hidden_states.mean(dim=1)


__all__ = ["VisionTransformerForImageClassification", "VisionTransformerModel"]
