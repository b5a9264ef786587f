"""The target `gguf`: a language model of Llama's shape as one file for llama.cpp and what is built on it."""

import json
import shlex
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from .base import Check, Export, ExportError
from .inputs import (
    NEW_TOKENS,
    Comparison,
    check_alike,
    check_difference,
    check_tokenizer,
    random_texts,
    writing_options,
)
from .native_classes import Llama


FILE = "model.gguf"
LIMIT = 1e-5
"""By how much logits may differ, relative to the largest of them where that is above 1."""

TENSORS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names of Llama's weights in transformers and in a file of llama.cpp."""


class GGUFExport(Export):
    """Llama's weights in float32, and the byte-level BPE tokenizer, in the file format of llama.cpp."""

    name = "gguf"
    title = "llama.cpp and what is built on it, as one file"
    packages = ("gguf",)
    extra = "export"
    language = "bash"

    def refuse(self):
        """All but language models of Llama's shape over bytes."""
        head = type(self.model).__name__
        if head not in Llama.heads:
            kind = f"model_type={self.config.model_type!r}"
            raise ExportError(f"The target gguf has Llama's shape, and a {head} ({kind}) has not.")
        misfits = Llama.misfits(self.config, head)
        misfits += ["use_bias=True (not False)"] if self.config.use_bias else []
        if misfits:
            raise ExportError(f"The target gguf has Llama's shape, and this {head} has not: {', '.join(misfits)}.")
        if self.processor is None:
            raise ExportError("The target gguf needs the model's tokenizer, since it is in the file.")
        self._refuse_tokenizer()

    def _refuse_tokenizer(self) -> None:
        """What llama.cpp splits texts by is that of GPT-2, without a change to the text before."""
        parts = json.loads(self.processor.backend_tokenizer.to_str())
        split, normalizer = parts["pre_tokenizer"] or {}, parts["normalizer"] or {}
        if parts["model"]["type"] != "BPE" or split.get("type") != "ByteLevel":
            raise ExportError(
                f"tokenizer of type {parts['model']['type']}: the target gguf takes byte-level BPE alone, which "
                "--tokenizer_type bpe trains."
            )
        if split["add_prefix_space"]:
            raise ExportError("tokenizer with add_prefix_space=True: llama.cpp puts no space before a text.")
        changes = [one["type"] for one in normalizer.get("normalizers", [normalizer] if normalizer else [])]
        if others := [name for name in changes if name != "NFC"]:
            raise ExportError(f"tokenizer with {', '.join(others)}: llama.cpp reads a text as it is.")
        self.refuse_missing_rows(self.processor)

    def write(self, folder: Path) -> None:
        """One file."""
        from gguf import GGUFWriter

        writer = GGUFWriter(str(folder / FILE), "llama")
        self._add_sizes(writer)
        self._add_tokenizer(writer)
        self._add_tensors(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def _add_sizes(self, writer) -> None:
        config = self.config
        writer.add_name(type(self.model).__name__)
        writer.add_file_type(0)  # all in float32
        writer.add_vocab_size(config.vocab_size)
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_rope_dimension_count(config.head_dim)
        writer.add_rope_freq_base(float(config.rope_theta))
        writer.add_layer_norm_rms_eps(config.layer_norm_eps)

    def _add_tokenizer(self, writer) -> None:
        from gguf import TokenType

        tokenizer, size = self.processor, len(self.processor)
        parts = json.loads(tokenizer.backend_tokenizer.to_str())
        kinds = dict.fromkeys(range(size), TokenType.NORMAL)
        for token in parts["added_tokens"]:
            kinds[token["id"]] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        without = range(size, self.config.vocab_size)  # rows of the embeddings that no token has
        kinds |= dict.fromkeys(without, TokenType.UNUSED)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        names = tokenizer.convert_ids_to_tokens(list(range(size))) + [f"[no token {row}]" for row in without]
        writer.add_token_list(names)
        writer.add_token_types([kinds[token] for token in range(self.config.vocab_size)])
        writer.add_token_merges([" ".join(pair) for pair in parts["model"]["merges"]])
        for name in ("bos", "eos", "unk", "pad"):
            token = getattr(tokenizer, f"{name}_token_id")
            if token is not None:
                getattr(writer, f"add_{name}_token_id")(token)
        ids = tokenizer("a")["input_ids"]
        writer.add_add_bos_token(ids[0] == tokenizer.bos_token_id)
        writer.add_add_eos_token(ids[-1] == tokenizer.eos_token_id)

    def _add_tensors(self, writer) -> None:
        """Those of Llama; queries and keys with neighbors as pairs, which here stand half a head apart."""
        native = Llama.build(self.model)
        heads = {"attn_q": self.config.num_attention_heads, "attn_k": self.config.num_key_value_heads}
        for name, weight in native.state_dict().items():
            if name == "lm_head.weight" and native.config.tie_word_embeddings:
                continue
            part = name.removesuffix(".weight")
            prefix = ""
            if part.startswith("model.layers."):
                _, _, layer, part = part.split(".", 3)
                prefix = f"blk.{layer}."
            into = TENSORS[part]
            if into in heads:
                halves = weight.view(heads[into], 2, self.config.head_dim // 2, -1)
                weight = halves.transpose(1, 2).reshape(weight.shape)
            writer.add_tensor(f"{prefix}{into}.weight", weight.float().contiguous().numpy())

    def verify(self, folder: Path) -> list[Check]:
        """The file as transformers reads it, which is not llama.cpp but knows the format: weights and tokenizer."""
        native = AutoModelForCausalLM.from_pretrained(folder, gguf_file=FILE, dtype=torch.float32).eval()
        texts = random_texts(self.config)
        outputs = [Comparison(native(text).logits, self.model(text).logits) for text in texts]
        same = 0
        for text in texts:
            options = {**writing_options(self.config, text.shape[1], NEW_TOKENS), "eos_token_id": None}
            same += native.generate(text, **options).tolist() == self.model.generate(text, **options).tolist()
        return [
            self._check_tokenizer(folder),
            check_difference(f"logits of {len(texts)} texts", outputs, LIMIT),
            check_alike("tokens, greedy", same, len(texts)),
        ]

    def _check_tokenizer(self, folder: Path) -> Check:
        saved = AutoTokenizer.from_pretrained(folder, gguf_file=FILE, split_special_tokens=True)
        options = {"add_special_tokens": False, "verbose": False}  # the file says whether a text gets special tokens

        def is_alike(text: str) -> bool:
            return saved(text, **options)["input_ids"] == self.processor(text, **options)["input_ids"]

        return check_tokenizer(self.processor, self.config, is_alike)

    def usage(self, folder: str) -> str:
        """With llama.cpp's own program."""
        file = shlex.quote(f"{folder}/{FILE}")
        return f'llama-cli --model {file} --temp 0 --predict 50 --no-conversation --prompt "In the beginning"'
