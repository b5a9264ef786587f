"""The target `ctranslate2`: translators and language models for CTranslate2, a fast runtime without torch."""

import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedTokenizerBase

from ..models.attention import MultiHeadAttention
from ..models.transformer_layers import DecoderLayer, GatedFeedForward, TransformerLayer, TransformerStack
from .base import TARGET_TOKENIZER, Check, Export, ExportError, in_python
from .inputs import NEW_TOKENS, check_alike, check_tokenizer, random_texts, writing_options
from .positions import position_table


TRANSLATOR, GENERATOR = "TransformerForConditionalGeneration", "TransformerDecoderForCausalLM"
LIMITS = {None: 1e-3, "int8": 0.1}
"""By how much a token's log-probability may differ: in float32 at most, in int8 in the mean."""


def load_ctranslate2() -> ModuleType:
    """
    The package, told to multiply int8 by MKL on x86 processors without VNNI. There oneDNN, which it takes on AMD's,
    sums pairs of products in 16 bits, which large ones saturate, and log-probabilities go wrong by tenths of a nat
    (oneDNN's developer guide, "Nuances of int8 computations"). `CT2_USE_MKL` overrides it.
    """
    can = torch.cpu.get_capabilities()
    has_vnni = can.get("avx512_vnni") or can.get("avx_vnni")
    if can.get("architecture") == "x86_64" and sys.platform == "linux" and not has_vnni:  # its wheels have MKL there
        os.environ.setdefault("CT2_USE_MKL", "1")
    return import_module("ctranslate2")


class CTranslate2Export(Export):
    """A `Translator` or a `Generator`, by its weights and their names in `ctranslate2.specs`."""

    name = "ctranslate2"
    title = "CTranslate2, which is fast on CPUs and GPUs and needs no torch"
    packages = ("ctranslate2",)
    extra = "export"
    quantizations = ("int8",)

    def refuse(self):
        """All but the two families that write texts, and what a vocabulary of strings cannot hold."""
        head = type(self.model).__name__
        if head not in (TRANSLATOR, GENERATOR):
            kind = f"model_type={self.config.model_type!r}"
            raise ExportError(f"CTranslate2 runs {TRANSLATOR} and {GENERATOR}, and not a {head} ({kind}).")
        if self._is_translator and self.config.decoder_cell is not None:
            raise ExportError(
                f"decoder_cell={self.config.decoder_cell!r}: CTranslate2 has no layers with cells; export to onnx."
            )
        if self.processor is None:
            raise ExportError("CTranslate2 needs the model's tokenizer, since its vocabulary is one of strings.")
        if len(self.end_tokens) > 1:
            raise ExportError(f"eos_token_id={self.end_tokens}: in CTranslate2 one token ends a text.")
        for tokenizer in (self.processor, self.target_processor or self.processor):
            self.refuse_missing_rows(tokenizer)

    def write(self, folder: Path) -> None:
        """`model.bin`, the vocabulary and the tokenizer, which needs nothing but the package `tokenizers`."""
        specs = load_ctranslate2().specs

        if self._is_translator:
            spec = specs.TransformerSpec(self._encoder_spec(), self._decoder_spec())
            _fill_stack(spec.encoder, self.model.model.encoder)
            _fill_stack(spec.decoder, self.model.model.decoder)
            spec.register_source_vocabulary(self.vocabulary(self.processor))
            spec.register_target_vocabulary(self.vocabulary(self._writer))
            spec.config.decoder_start_token = self._token(self.config.decoder_start_token_id)
        else:
            spec = specs.TransformerDecoderModelSpec(self._decoder_spec())
            _fill_stack(spec.decoder, self.model.model)
            spec.register_vocabulary(self.vocabulary(self.processor))
        # Copies: what is quantized is quantized in place.
        spec.decoder.projection.weight = self.model.lm_head.weight.clone()
        if self.model.lm_head.bias is not None:
            spec.decoder.projection.bias = self.model.lm_head.bias.clone()
        spec.config.layer_norm_epsilon = self.config.layer_norm_eps
        spec.config.bos_token = self._writer.bos_token or ""
        spec.config.unk_token = self._writer.unk_token or ""
        spec.config.eos_token = self._token(self.end_tokens[0]) if self.end_tokens else ""
        spec.validate()
        spec.optimize(quantization=self.quantization)
        spec.save(str(folder))
        self.save_processors(folder)

    @property
    def _writer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of what is written."""
        return self.processor if self.target_processor is None else self.target_processor

    def vocabulary(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """A string for each row of the embeddings, those without a token included."""
        tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        return tokens + [f"<no token {row}>" for row in range(len(tokens), self.config.vocab_size)]

    def _token(self, token: int) -> str:
        return self.vocabulary(self._writer)[token]

    def _options(self) -> dict:
        from ctranslate2.specs.common_spec import Activation

        config = self.config
        is_rotary = config.position_embedding_type == "rotary"
        is_shared = config.num_key_value_heads != config.num_attention_heads
        acts = {"relu": Activation.RELU, "gelu": Activation.GELU, "swiglu": Activation.SWISH}
        return {
            "num_heads": config.num_attention_heads,
            "pre_norm": config.norm_position == "pre",
            "activation": acts[config.hidden_act],
            "ffn_glu": config.hidden_act == "swiglu",
            "rms_norm": config.norm_type == "rms_norm",
            "layernorm_embedding": config.embedding_norm,
            "rotary_dim": 0 if is_rotary else None,
            "rotary_interleave": False,
            "rotary_base": config.rope_theta,
            "num_heads_kv": config.num_key_value_heads if is_shared else None,
            "head_dim": config.head_dim,
        }

    def _encoder_spec(self):
        from ctranslate2.specs.transformer_spec import TransformerEncoderSpec

        spec = TransformerEncoderSpec(self.config.num_hidden_layers, **self._options())
        if self.config.position_embedding_type == "rotary":
            del spec.position_encodings
        return spec

    def _decoder_spec(self):
        from ctranslate2.specs.transformer_spec import TransformerDecoderSpec

        layers = self.config.decoder_layers if self._is_translator else self.config.num_hidden_layers
        return TransformerDecoderSpec(layers, with_encoder_attention=self._is_translator, **self._options())

    @property
    def _is_translator(self) -> bool:
        return type(self.model).__name__ == TRANSLATOR

    def usage(self, folder: str) -> str:
        """Lines that need ctranslate2 and tokenizers alone."""
        second = f"Tokenizer.from_file({in_python(f'{folder}/{TARGET_TOKENIZER}/tokenizer.json')})"
        end = "" if self.end_tokens else ", end_token=[]"
        lines = [
            "import ctranslate2",
            "from tokenizers import Tokenizer",
            "",
            f"tokenizer = Tokenizer.from_file({in_python(f'{folder}/tokenizer.json')})",
            "tokenizer.encode_special_tokens = True  # the words of a text never become control tokens",
        ]
        if self._is_translator:
            lines += [
                f"writer = {'tokenizer' if self.target_processor is None else second}",
                f"translator = ctranslate2.Translator({in_python(folder)})",
                'tokens = tokenizer.encode("A man sleeps.").tokens',
                "# max_input_length=0: nothing is cut off",
                f"found = translator.translate_batch([tokens], beam_size=5, max_input_length=0{end})[0].hypotheses[0]",
                "print(writer.decode([writer.token_to_id(token) for token in found]))",
            ]
        else:
            lines += [
                f"generator = ctranslate2.Generator({in_python(folder)})",
                'tokens = tokenizer.encode("In the beginning").tokens',
                f"found = generator.generate_batch([tokens], max_length=50, sampling_topk=1{end})[0]",
                "print(tokenizer.decode(found.sequences_ids[0]))",
            ]
        return "\n".join(lines)

    def verify(self, folder: Path) -> list[Check]:
        """The log-probability of each token of random texts, and the tokens that are written greedily."""
        ctranslate2 = load_ctranslate2()
        kind = ctranslate2.Translator if self._is_translator else ctranslate2.Generator
        runtime = kind(str(folder), device="cpu", inter_threads=1, intra_threads=torch.get_num_threads())
        longest = self.config.max_position_embeddings - 1  # the start token has a position too
        texts = [text[:, :longest] for text in random_texts(self.config, (2, 3, 7, 12, 31, 40))]
        return [
            self._check_tokenizer(folder),
            self._check_scores(runtime, texts),
            *self._check_generation(runtime, texts),
        ]

    def _check_tokenizer(self, folder: Path) -> Check:
        """The tokenizer as `usage` reads it, on what it makes of random tokens."""
        saved = Tokenizer.from_file(str(folder / "tokenizer.json"))
        saved.encode_special_tokens = True

        def is_alike(text: str) -> bool:
            return saved.encode(text).ids == self.processor(text, verbose=False)["input_ids"]

        return check_tokenizer(self.processor, self.config, is_alike)

    def _check_scores(self, runtime, texts: list[torch.Tensor]) -> Check:
        """Texts read in one batch, each against the model alone."""
        tokens = [self._tokens(self.processor, text[0]) for text in texts]
        if self._is_translator:
            targets = [self._tokens(self._writer, text[0]) for text in texts]
            results = runtime.score_batch(tokens, targets, max_input_length=0)
        else:
            results = runtime.score_batch(tokens, max_input_length=0)
        differences = []
        for text, result in zip(texts, results, strict=True):
            expected = self._scores(text)
            differences.append((torch.tensor(result.log_probs)[: len(expected)] - expected).abs())
        difference, limit = torch.cat(differences), LIMITS[self.quantization]
        found = float(difference.mean() if self.quantization else difference.max())
        name = f"log-probabilities of {len(difference)} tokens" + (", mean difference" if self.quantization else "")
        return Check(name, found <= limit, f"{found:.1e} nats", f"at most {limit:.0e}")

    def _scores(self, text: torch.Tensor) -> torch.Tensor:
        """The model's log-probabilities of the tokens of a `(1, T)` text, behind the first for a language model."""
        if self._is_translator:
            start = torch.full((1, 1), self.config.decoder_start_token_id)
            logits = self.model(text, decoder_input_ids=torch.cat([start, text[:, :-1]], 1)).logits[0]
            return logits.log_softmax(-1).gather(1, text[0].unsqueeze(1)).squeeze(1)  # (T,)
        logits = self.model(text).logits[0, :-1]
        return logits.log_softmax(-1).gather(1, text[0, 1:].unsqueeze(1)).squeeze(1)  # (T - 1,)

    def _check_generation(self, runtime, texts: list[torch.Tensor]) -> list[Check]:
        """What is written greedily; in int8 other tokens may win, so that there is nothing to hold."""
        if self.quantization:
            return []
        pairs = []
        for text in texts:
            new = self._new_tokens(text.shape[1])
            if new < 1:
                continue
            written = self.model.generate(text, **writing_options(self.config, text.shape[1], new))[0].tolist()
            tokens = [self._tokens(self.processor, text[0])]
            end = {} if self.end_tokens else {"end_token": []}
            if self._is_translator:
                options = {"beam_size": 1, "max_decoding_length": new, "max_input_length": 0, **end}
                result = runtime.translate_batch(tokens, **options)
                pairs.append((result[0].hypotheses[0], self._written(written[1:])))
            else:
                result = runtime.generate_batch(tokens, max_length=new, include_prompt_in_result=False, **end)
                pairs.append((result[0].sequences[0], self._written(written[text.shape[1] :])))
        same = sum(found == expected for found, expected in pairs)
        return [check_alike("tokens, greedy", same, len(pairs))]

    def _new_tokens(self, length: int) -> int:
        room = self.config.max_position_embeddings - (1 if self._is_translator else length)
        return min(NEW_TOKENS, room)

    def _written(self, ids: list[int]) -> list[str]:
        """Ids up to the end token, as strings."""
        ends = [place for place, token in enumerate(ids) if token in self.end_tokens]
        return self._tokens(self._writer, ids[: ends[0]] if ends else ids)

    def _tokens(self, tokenizer: PreTrainedTokenizerBase, ids) -> list[str]:
        vocabulary = self.vocabulary(tokenizer)
        return [vocabulary[token] for token in ids]


def _linear(spec, *layers: nn.Linear) -> None:
    """One linear map, or several of one input as one."""
    spec.weight = torch.cat([layer.weight for layer in layers])
    if layers[0].bias is not None:
        spec.bias = torch.cat([layer.bias for layer in layers])


def _norm(spec, norm: nn.Module) -> None:
    spec.gamma = norm.weight
    if isinstance(norm, nn.LayerNorm):
        spec.beta = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias


def _attention(spec, attention: MultiHeadAttention, norm: nn.Module, is_cross: bool = False) -> None:
    _norm(spec.layer_norm, norm)
    maps = attention.q_proj, attention.k_proj, attention.v_proj
    for into, layers in zip(spec.linear, (maps[:1], maps[1:]) if is_cross else (maps,), strict=False):
        _linear(into, *layers)
    _linear(spec.linear[-1], attention.o_proj)


def _feed_forward(spec, layer: TransformerLayer) -> None:
    _norm(spec.layer_norm, layer.mlp_norm)
    if isinstance(layer.mlp, GatedFeedForward):
        _linear(spec.linear_0, layer.mlp.gate_proj)
        _linear(spec.linear_0_noact, layer.mlp.up_proj)
    else:
        _linear(spec.linear_0, layer.mlp.up_proj)
    _linear(spec.linear_1, layer.mlp.down_proj)


def _fill_stack(spec, stack: TransformerStack) -> None:
    """The weights of an encoder or a decoder; positions that are not learned become a table."""
    config = stack.config
    embeddings = spec.embeddings[0] if isinstance(spec.embeddings, list) else spec.embeddings
    embeddings.weight = stack.embed_tokens.weight.clone()
    spec.scale_embeddings = float(stack.embedding_scale)
    if config.position_embedding_type != "rotary":
        spec.position_encodings.encodings = position_table(stack.positions, config)
    if config.embedding_norm:
        _norm(spec.layernorm_embedding, stack.embedding_norm)
    if config.norm_position == "pre":
        _norm(spec.layer_norm, stack.norm)
    for into, layer in zip(spec.layer, stack.layers, strict=True):
        _attention(into.self_attention, layer.self_attn, layer.self_attn_norm)
        if isinstance(layer, DecoderLayer) and layer.cross_attn is not None:
            _attention(into.attention, layer.cross_attn, layer.cross_attn_norm, is_cross=True)
        _feed_forward(into.ffn, layer)
