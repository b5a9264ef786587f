"""The classes of transformers that compute what ours compute, and how our weights become theirs.

Each is a list of the values that our configuration's fields must have, and a renaming. What is computed from weights
alone is computed here: a scale of the embeddings is multiplied into them, positions that are not learned become a
table, and a bias that we do not have is zero.
"""

from typing import Any, ClassVar

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from .positions import position_table


LABEL_FIELDS = ("id2label", "label2id", "problem_type")
TOKEN_FIELDS = ("pad_token_id", "bos_token_id", "eos_token_id")
TANH_SCALE = 2.0**-12
"""BERT's pooler has a tanh, which ours lack: at this scale it differs from the identity by less than rounding."""


class Weights:
    """Weights under their new names; a bias that is not there is zero."""

    def __init__(self, model: PreTrainedModel):
        self.model = model
        self.ours = model.state_dict()
        self.theirs: dict[str, torch.Tensor] = {}

    def matrix(
        self, ours: str, theirs: str, rows=slice(None), columns=None, scale: float = 1.0, transposed: bool = False
    ) -> None:
        """
        A linear map or a LayerNorm with its bias: its outputs in the order of `rows` and times `scale`, its inputs in
        the order of `columns`.
        """
        weight = self.ours[f"{ours}.weight"]
        bias = self.ours.get(f"{ours}.bias", torch.zeros(len(weight)))
        weight = weight if columns is None else weight[:, columns]
        self.theirs[f"{theirs}.weight"] = (weight.T if transposed else weight[rows]) * scale
        self.theirs[f"{theirs}.bias"] = bias[rows] * scale

    def embeddings(self, config: PreTrainedConfig, ours: str) -> torch.Tensor:
        """An embedding matrix, with its scale in it."""
        weight = self.ours[f"{ours}.weight"]
        return weight * config.hidden_size**0.5 if config.scale_embedding else weight

    def positions(self, config: PreTrainedConfig, module: str) -> torch.Tensor:
        """A vector for each position, `(max_position_embeddings, hidden_size)`, learned or not."""
        return position_table(self.model.get_submodule(module), config)


class NativeClass:
    """
    A class of transformers and what it can express.

    Attributes:
        heads: Our class to theirs, by their names: transformers imports a class when it is asked for.
        fits: The values that a field of ours may have.
        whole_heads: Whether each query head has keys and values of its own, and all of them the hidden size in all.
        bounded: Whether it has no positions beyond `max_position_embeddings`, whatever they are here.
        padding: Where padding may stand for `forward` to give what ours gives.
        made_there: The ending of the names of weights that it computes by itself.
    """

    heads: ClassVar[dict[str, str]]
    fits: ClassVar[dict[str, tuple[Any, ...]]]
    whole_heads: ClassVar[bool] = True
    bounded: ClassVar[bool] = True
    padding: ClassVar[tuple[str, ...]] = ("right",)
    made_there: ClassVar[str] = ""

    @classmethod
    def misfits(cls, config: PreTrainedConfig, head: str) -> list[str]:
        """What of a configuration does not fit, each with its value and what it would have to be."""
        found = [
            f"{name}={getattr(config, name)!r} (not {' or '.join(map(repr, values))})"
            for name, values in cls.fits.items()
            if getattr(config, name) not in values
        ]
        heads, size = config.num_attention_heads, config.hidden_size
        if cls.whole_heads and config.num_key_value_heads != heads:
            found.append(f"num_key_value_heads={config.num_key_value_heads} (not {heads}, one per query head)")
        if cls.whole_heads and config.head_dim * heads != size:
            found.append(f"head_dim={config.head_dim} (not {size / heads:g}, the hidden size divided by the heads)")
        return found

    @classmethod
    def build(cls, model: PreTrainedModel) -> PreTrainedModel:
        """The model as an instance of the class that fits."""
        names = (*LABEL_FIELDS, *([] if cls is ViT else TOKEN_FIELDS))
        config = cls.config(model.config, {name: getattr(model.config, name) for name in names})
        head = type(model).__name__
        native = getattr(transformers, cls.heads[head])(config).eval()
        weights = Weights(model)
        cls.convert(weights, model.config, head)
        made = {name for name in native.state_dict() if name.endswith(cls.made_there)} if cls.made_there else set()
        missing, unexpected = native.load_state_dict(weights.theirs, strict=False)
        if set(missing) != made or unexpected:
            raise RuntimeError(f"{cls.__name__}: {sorted(set(missing) ^ made) + unexpected} are not converted.")
        native.tie_weights()
        if native.can_generate():
            native.generation_config = type(model.generation_config)(**model.generation_config.to_dict())
        return native

    @classmethod
    def config(cls, config: PreTrainedConfig, alike: dict[str, Any]) -> PreTrainedConfig:
        """Their configuration; `alike` holds the fields of tokens and labels, which all classes have."""
        raise NotImplementedError

    @classmethod
    def convert(cls, weights: Weights, config: PreTrainedConfig, head: str) -> None:
        """All weights of a model of ours, whose class has the name `head`, under their names."""
        raise NotImplementedError


class Llama(NativeClass):
    """Rotary positions, RMSNorm first, SwiGLU (Touvron et al. 2023, arXiv 2302.13971); two names differ."""

    heads = {"TransformerDecoderForCausalLM": "LlamaForCausalLM"}
    fits = {
        "position_embedding_type": ("rotary",),
        "norm_type": ("rms_norm",),
        "norm_position": ("pre",),
        "hidden_act": ("swiglu",),
        "embedding_norm": (False,),
    }
    whole_heads = False
    bounded = False
    padding = ("right", "left")

    @classmethod
    def misfits(cls, config, head):
        """Its configuration divides the hidden size by the heads even where it is given their width."""
        found = super().misfits(config, head)
        if config.hidden_size % config.num_attention_heads:
            found.append(f"num_attention_heads={config.num_attention_heads} (not a divisor of hidden_size)")
        return found

    @classmethod
    def config(cls, config, alike):
        """A scaled embedding matrix cannot be the output matrix."""
        same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        same += ("num_key_value_heads", "head_dim", "max_position_embeddings", "attention_dropout", "use_cache")
        return transformers.LlamaConfig(
            **alike,
            **{name: getattr(config, name) for name in (*same, "initializer_range")},
            hidden_act="silu",
            rms_norm_eps=config.layer_norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": float(config.rope_theta)},
            attention_bias=config.use_bias,
            mlp_bias=config.use_bias,
            tie_word_embeddings=config.tie_word_embeddings and not config.scale_embedding,
        )

    @classmethod
    def convert(cls, weights, config, head):
        """Two renames."""
        for name, weight in weights.ours.items():
            renamed = name.replace("self_attn_norm", "input_layernorm").replace("mlp_norm", "post_attention_layernorm")
            weights.theirs[renamed] = weight
        weights.theirs["model.embed_tokens.weight"] = weights.embeddings(config, "model.embed_tokens")


class GPT2(NativeClass):
    """Positions added to the embeddings, LayerNorm first, GELU (Radford et al. 2019)."""

    heads = {"TransformerDecoderForCausalLM": "GPT2LMHeadModel"}
    fits = {
        "position_embedding_type": ("learned", "sinusoidal", "none"),
        "norm_type": ("layer_norm",),
        "norm_position": ("pre",),
        "hidden_act": ("gelu", "relu"),
        "embedding_norm": (False,),
    }

    @classmethod
    def config(cls, config, alike):
        """A scaled embedding matrix cannot be the output matrix."""
        return transformers.GPT2Config(
            **alike,
            vocab_size=config.vocab_size,
            n_positions=config.max_position_embeddings,
            n_embd=config.hidden_size,
            n_layer=config.num_hidden_layers,
            n_head=config.num_attention_heads,
            n_inner=config.intermediate_size,
            activation_function=config.hidden_act,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=config.attention_dropout,
            layer_norm_epsilon=config.layer_norm_eps,
            initializer_range=config.initializer_range,
            use_cache=config.use_cache,
            tie_word_embeddings=config.tie_word_embeddings and not config.scale_embedding,
        )

    @classmethod
    def convert(cls, weights, config, head):
        """Queries, keys and values become one map; maps are transposed, since they are convolutions there."""
        theirs = weights.theirs
        theirs["transformer.wte.weight"] = weights.embeddings(config, "model.embed_tokens")
        theirs["transformer.wpe.weight"] = weights.positions(config, "model.positions")
        theirs["lm_head.weight"] = weights.ours["lm_head.weight"]
        weights.matrix("model.norm", "transformer.ln_f")
        for layer in range(config.num_hidden_layers):
            ours, into = f"model.layers.{layer}", f"transformer.h.{layer}"
            weights.matrix(f"{ours}.self_attn_norm", f"{into}.ln_1")
            weights.matrix(f"{ours}.mlp_norm", f"{into}.ln_2")
            weights.matrix(f"{ours}.self_attn.o_proj", f"{into}.attn.c_proj", transposed=True)
            weights.matrix(f"{ours}.mlp.up_proj", f"{into}.mlp.c_fc", transposed=True)
            weights.matrix(f"{ours}.mlp.down_proj", f"{into}.mlp.c_proj", transposed=True)
            for part in "qkv":
                weights.matrix(f"{ours}.self_attn.{part}_proj", part, transposed=True)
            theirs[f"{into}.attn.c_attn.weight"] = torch.cat([theirs.pop(f"{part}.weight") for part in "qkv"], 1)
            theirs[f"{into}.attn.c_attn.bias"] = torch.cat([theirs.pop(f"{part}.bias") for part in "qkv"])


class Bert(NativeClass):
    """Positions added to the embeddings, a norm on them and behind each sublayer (Devlin et al. 2019)."""

    heads = {
        "TransformerEncoderForMaskedLM": "BertForMaskedLM",
        "TransformerEncoderForSequenceClassification": "BertForSequenceClassification",
        "TransformerEncoderForTokenClassification": "BertForTokenClassification",
    }
    fits = {
        "position_embedding_type": ("learned", "sinusoidal", "none"),
        "norm_type": ("layer_norm",),
        "norm_position": ("post",),
        "hidden_act": ("gelu", "relu"),
        "embedding_norm": (True,),
    }

    @classmethod
    def misfits(cls, config, head):
        """Its classifier reads the first token, and its language model has the layers' activation."""
        found = super().misfits(config, head)
        if head == "TransformerEncoderForSequenceClassification" and config.pooling != "first":
            found.append(f"pooling={config.pooling!r} (not 'first')")
        if head == "TransformerEncoderForTokenClassification" and config.first_continuing_id is not None:
            found.append(f"first_continuing_id={config.first_continuing_id} (not None: words of their spelling)")
        if head == "TransformerEncoderForMaskedLM" and config.hidden_act == "relu":
            found.append("hidden_act='relu' (not 'gelu', which stands before lm_head)")
        return found

    @classmethod
    def config(cls, config, alike):
        """One kind of sentence, whose vector is zero."""
        same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        same += ("hidden_act", "max_position_embeddings", "layer_norm_eps", "initializer_range")
        return transformers.BertConfig(
            **alike,
            **{name: getattr(config, name) for name in same},
            type_vocab_size=1,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.attention_dropout,
            classifier_dropout=config.head_dropout,
            tie_word_embeddings=config.tie_word_embeddings and not config.scale_embedding,
        )

    @classmethod
    def convert(cls, weights, config, head):
        """The body, and the head that is there."""
        theirs, into = weights.theirs, "bert.embeddings"
        theirs[f"{into}.word_embeddings.weight"] = weights.embeddings(config, "model.embed_tokens")
        theirs[f"{into}.position_embeddings.weight"] = weights.positions(config, "model.positions")
        theirs[f"{into}.token_type_embeddings.weight"] = torch.zeros(1, config.hidden_size)
        weights.matrix("model.embedding_norm", f"{into}.LayerNorm")
        for layer in range(config.num_hidden_layers):
            ours, into = f"model.layers.{layer}", f"bert.encoder.layer.{layer}"
            for part, name in {"q": "query", "k": "key", "v": "value"}.items():
                weights.matrix(f"{ours}.self_attn.{part}_proj", f"{into}.attention.self.{name}")
            weights.matrix(f"{ours}.self_attn.o_proj", f"{into}.attention.output.dense")
            weights.matrix(f"{ours}.self_attn_norm", f"{into}.attention.output.LayerNorm")
            weights.matrix(f"{ours}.mlp.up_proj", f"{into}.intermediate.dense")
            weights.matrix(f"{ours}.mlp.down_proj", f"{into}.output.dense")
            weights.matrix(f"{ours}.mlp_norm", f"{into}.output.LayerNorm")
        if head == "TransformerEncoderForMaskedLM":
            weights.matrix("head_dense", "cls.predictions.transform.dense")
            weights.matrix("head_norm", "cls.predictions.transform.LayerNorm")
            weights.matrix("lm_head", "cls.predictions.decoder")
            theirs["cls.predictions.bias"] = weights.ours["lm_head.bias"]
            return
        weights.matrix("score", "classifier")
        if head == "TransformerEncoderForSequenceClassification":
            theirs["bert.pooler.dense.weight"] = torch.eye(config.hidden_size) * TANH_SCALE
            theirs["bert.pooler.dense.bias"] = torch.zeros(config.hidden_size)
            theirs["classifier.weight"] = theirs["classifier.weight"] / TANH_SCALE


class Marian(NativeClass):
    """
    The Transformer of Vaswani et al. 2017 (arXiv 1706.03762), sines before cosines instead of between them.

    So the components of each state stand in another order: all maps that read or write one are rearranged.
    """

    heads = {"TransformerForConditionalGeneration": "MarianMTModel"}
    native_config = "MarianConfig"
    made_there = "embed_positions.weight"
    fits = {
        "position_embedding_type": ("sinusoidal",),
        "norm_type": ("layer_norm",),
        "norm_position": ("post",),
        "hidden_act": ("relu", "gelu"),
        "embedding_norm": (False,),
        "decoder_cell": (None,),
    }

    @classmethod
    def config(cls, config, alike):
        """Its norms have an epsilon of 1e-5, whatever it is here: what that changes is checked, not assumed."""
        shared = {"share_encoder_decoder_embeddings": config.tie_word_embeddings} if cls is Marian else {}
        stacks = {"encoder": config.num_hidden_layers, "decoder": config.decoder_layers}
        sizes = {f"{stack}_layers": layers for stack, layers in stacks.items()}
        sizes |= {f"{stack}_ffn_dim": config.intermediate_size for stack in stacks}
        sizes |= {f"{stack}_attention_heads": config.num_attention_heads for stack in stacks}
        same = ("vocab_size", "max_position_embeddings", "use_cache", "dropout", "attention_dropout")
        same += ("activation_dropout", "scale_embedding", "tie_word_embeddings", "decoder_start_token_id")
        return getattr(transformers, cls.native_config)(
            **alike,
            **{name: getattr(config, name) for name in same},
            **sizes,
            **shared,
            activation_function=config.hidden_act,
            d_model=config.hidden_size,
            init_std=config.initializer_range,
            forced_eos_token_id=None,
        )

    @classmethod
    def convert(cls, weights, config, head):
        """Each state's components in the order of their positions: even ones first."""
        order = torch.cat([torch.arange(0, config.hidden_size, 2), torch.arange(1, config.hidden_size, 2)])
        cls._convert_stacks(weights, config, order, 1.0)

    @classmethod
    def _convert_stacks(cls, weights: Weights, config: PreTrainedConfig, order: torch.Tensor, scale: float) -> None:
        """With the components of each state in another order, and times `scale`."""
        theirs = weights.theirs
        for name in ("model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head"):
            theirs[f"{name}.weight"] = weights.ours[f"{name}.weight"][:, order] * scale
        theirs["final_logits_bias"] = torch.zeros(1, config.vocab_size)
        if config.output_bias:
            theirs["final_logits_bias"] = weights.ours["lm_head.bias"].unsqueeze(0)
        if config.tie_word_embeddings:
            theirs["model.shared.weight"] = theirs["lm_head.weight"]
        for stack, layers in (("encoder", config.num_hidden_layers), ("decoder", config.decoder_layers)):
            for layer in (f"model.{stack}.layers.{index}" for index in range(layers)):
                for name in ["self_attn"] if stack == "encoder" else ["self_attn", "cross_attn"]:
                    into = f"{layer}.{name.replace('cross', 'encoder')}"
                    for part in "qkv":
                        weights.matrix(f"{layer}.{name}.{part}_proj", f"{into}.{part}_proj", columns=order)
                    weights.matrix(f"{layer}.{name}.o_proj", f"{into}.out_proj", order, scale=scale)
                    weights.matrix(f"{layer}.{name}_norm", f"{into}_layer_norm", order)
                weights.matrix(f"{layer}.mlp.up_proj", f"{layer}.fc1", columns=order)
                weights.matrix(f"{layer}.mlp.down_proj", f"{layer}.fc2", order, scale=scale)
                weights.matrix(f"{layer}.mlp_norm", f"{layer}.final_layer_norm", order)


class Pegasus(Marian):
    """
    The same with the norm before each sublayer (Zhang et al. 2020, arXiv 1912.08777), over one embedding matrix.

    Its positions are saved with it, so that they may be any; and its epsilon may be any: a norm of `x` with `e` is a
    norm of `c x` with `c^2 e`, so that all states are taken times `c`.
    """

    heads = {"TransformerForConditionalGeneration": "PegasusForConditionalGeneration"}
    native_config = "PegasusConfig"
    made_there = ""
    fits = {
        **Marian.fits,
        "position_embedding_type": ("sinusoidal", "learned", "none"),
        "norm_position": ("pre",),
        "tie_word_embeddings": (True,),
    }

    @classmethod
    def convert(cls, weights, config, head):
        """The embeddings times `c` are the output matrix too, so that the last norm's output is divided by it."""
        scale = (torch.nn.LayerNorm(1).eps / config.layer_norm_eps) ** 0.5
        cls._convert_stacks(weights, config, torch.arange(config.hidden_size), scale)
        for stack in ("model.encoder", "model.decoder"):
            positions = weights.positions(config, f"{stack}.positions") * scale
            weights.theirs[f"{stack}.embed_positions.weight"] = positions
        weights.matrix("model.encoder.norm", "model.encoder.layer_norm")
        weights.matrix("model.decoder.norm", "model.decoder.layer_norm", scale=1 / scale)


class ViT(NativeClass):
    """Patches behind a class token, LayerNorm first (Dosovitskiy et al. 2021, arXiv 2010.11929)."""

    heads = {"VisionTransformerForImageClassification": "ViTForImageClassification"}
    fits = {
        "norm_type": ("layer_norm",),
        "norm_position": ("pre",),
        "hidden_act": ("gelu", "relu"),
        "pooling": ("class_token",),
    }

    @classmethod
    def config(cls, config, alike):
        """Sizes and dropouts."""
        same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act")
        same += ("layer_norm_eps", "initializer_range", "image_size", "patch_size", "num_channels")
        return transformers.ViTConfig(
            **alike,
            **{name: getattr(config, name) for name in same},
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.attention_dropout,
        )

    @classmethod
    def convert(cls, weights, config, head):
        """The class token and the positions have one more axis there."""
        theirs, into = weights.theirs, "vit.embeddings"
        theirs[f"{into}.cls_token"] = weights.ours["model.patch_embeddings.class_token"].view(1, 1, -1)
        theirs[f"{into}.position_embeddings"] = weights.positions(config, "model.positions").unsqueeze(0)
        weights.matrix("model.patch_embeddings.projection", f"{into}.patch_embeddings.projection")
        weights.matrix("model.norm", "vit.layernorm")
        weights.matrix("score", "classifier")
        for layer in range(config.num_hidden_layers):
            ours, into = f"model.layers.{layer}", f"vit.layers.{layer}"
            for part in "qkvo":
                weights.matrix(f"{ours}.self_attn.{part}_proj", f"{into}.attention.{part}_proj")
            weights.matrix(f"{ours}.self_attn_norm", f"{into}.layernorm_before")
            weights.matrix(f"{ours}.mlp_norm", f"{into}.layernorm_after")
            weights.matrix(f"{ours}.mlp.up_proj", f"{into}.mlp.fc1")
            weights.matrix(f"{ours}.mlp.down_proj", f"{into}.mlp.fc2")


NATIVE_CLASSES: tuple[type[NativeClass], ...] = (Llama, GPT2, Bert, Marian, Pegasus, ViT)
"""Every class that one of ours may become."""
