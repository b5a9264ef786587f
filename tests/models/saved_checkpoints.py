"""Small checkpoints, one of each class or more, that later versions of the code have to load unchanged.

    python tests/models/saved_checkpoints.py

writes to `checkpoints/` those that are not there. One that is there is never written again: it is what an older
version saved and computed.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.utils import logging

import seqnlp


FOLDER = Path(__file__).parent / "checkpoints"
WORDS = {"vocab_size": 20, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
RECURRENT = {"hidden_size": 6, "initializer_range": 0.5}
TRANSFORMER = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3}
BERT = {**WORDS, **TRANSFORMER}
IMAGES = {**TRANSFORMER, "image_size": (4, 6), "patch_size": 2, "num_channels": 1, "num_labels": 3}
SERIES = {"input_size": 2, "input_mean": [1.0, -2.0], "input_scale": [2.0, 0.5], "prediction_length": 3}
MODERN = {"num_key_value_heads": 1, "hidden_act": "swiglu", "norm_type": "rms_norm", "norm_position": "pre"}
CHECKPOINTS = {
    "recurrent": ("RecurrentModel", {**WORDS, **RECURRENT, "cell_type": "gru", "num_hidden_layers": 2}),
    "elman_language_model": (
        "RecurrentForCausalLM",
        {**WORDS, **RECURRENT, "cell_type": "elman", "hidden_act": "relu", "recurrent_initializer": "identity"},
    ),
    "gru_language_model": (
        "RecurrentForCausalLM",
        {**WORDS, **RECURRENT, "cell_type": "gru", "tie_word_embeddings": True, "label_smoothing": 0.1},
    ),
    "lstm_language_model": (
        "RecurrentForCausalLM",
        {**WORDS, **RECURRENT, "cell_type": "lstm", "num_hidden_layers": 2, "embedding_size": 5},
    ),
    "lstm_classifier_last": ("RecurrentForSequenceClassification", {**WORDS, **RECURRENT, "bidirectional": True}),
    "gru_classifier_attention": (
        "RecurrentForSequenceClassification",
        {**WORDS, **RECURRENT, "cell_type": "gru", "bidirectional": True, "pooling": "attention", "num_labels": 3},
    ),
    "elman_classifier_mean": (
        "RecurrentForSequenceClassification",
        {**WORDS, **RECURRENT, "cell_type": "elman", "pooling": "mean", "problem_type": "multi_label_classification"},
    ),
    "lstm_classifier_max": ("RecurrentForSequenceClassification", {**WORDS, **RECURRENT, "pooling": "max"}),
    "lstm_tagger": ("RecurrentForTokenClassification", {**WORDS, **RECURRENT, "bidirectional": True, "num_labels": 4}),
    "lstm_series": ("RecurrentForTimeSeriesPrediction", {**RECURRENT, **SERIES}),
    "gru_series_student_t": (
        "RecurrentForTimeSeriesPrediction",
        {**RECURRENT, **SERIES, "cell_type": "gru", "distribution_output": "student_t"},
    ),
    "recurrent_seq2seq": ("RecurrentSeq2SeqModel", {**WORDS, **RECURRENT, "attention_type": "none"}),
    "lstm_translator": (
        "RecurrentSeq2SeqForConditionalGeneration",
        {**WORDS, **RECURRENT, "num_hidden_layers": 2, "tie_word_embeddings": True},
    ),
    "gru_translator": (
        "RecurrentSeq2SeqForConditionalGeneration",
        {
            **WORDS,
            **RECURRENT,
            "cell_type": "gru",
            "attention_type": "multiplicative",
            "input_feeding": True,
            "share_embeddings": False,
        },
    ),
    "transformer": ("TransformerModel", {**BERT, "norm_position": "pre", "decoder_layers": 1}),
    "transformer_translator": ("TransformerForConditionalGeneration", {**BERT, "label_smoothing": 0.1}),
    "transformer_translator_modern": (
        "TransformerForConditionalGeneration",
        {**BERT, **MODERN, "position_embedding_type": "rotary", "use_bias": False, "tie_word_embeddings": False},
    ),
    "transformer_decoder": ("TransformerDecoderModel", BERT),
    "transformer_language_model": ("TransformerDecoderForCausalLM", BERT),
    "transformer_language_model_gpt2": (
        "TransformerDecoderForCausalLM",
        {
            **BERT,
            "position_embedding_type": "learned",
            "max_position_embeddings": 16,
            "norm_type": "layer_norm",
            "hidden_act": "gelu",
            "use_bias": True,
            "embedding_norm": True,
            "tie_word_embeddings": False,
        },
    ),
    "transformer_decoder_classifier": ("TransformerDecoderForSequenceClassification", {**BERT, "num_labels": 3}),
    "transformer_series": (
        "TransformerDecoderForTimeSeriesPrediction",
        {**TRANSFORMER, **SERIES, "position_embedding_type": "sinusoidal"},
    ),
    "transformer_encoder": ("TransformerEncoderModel", {**BERT, "max_position_embeddings": 16}),
    "masked_language_model": ("TransformerEncoderForMaskedLM", {**BERT, "max_position_embeddings": 16}),
    "transformer_classifier_first": (
        "TransformerEncoderForSequenceClassification",
        {**BERT, "max_position_embeddings": 16, "pooling": "first"},
    ),
    "transformer_classifier_mean": (
        "TransformerEncoderForSequenceClassification",
        {**BERT, **MODERN, "position_embedding_type": "rotary", "num_labels": 1},
    ),
    "transformer_classifier_max": (
        "TransformerEncoderForSequenceClassification",
        {**BERT, "position_embedding_type": "none", "pooling": "max", "num_labels": 3},
    ),
    "transformer_tagger": ("TransformerEncoderForTokenClassification", {**BERT, "max_position_embeddings": 16}),
    "vision_transformer": ("VisionTransformerModel", IMAGES),
    "image_classifier": ("VisionTransformerForImageClassification", IMAGES),
    "image_classifier_mean": (
        "VisionTransformerForImageClassification",
        {**IMAGES, "pooling": "mean", "position_embedding_type": "sinusoidal"},
    ),
}
"""For each checkpoint its class and the fields of its configuration."""


def inputs_of(model) -> dict[str, torch.Tensor]:
    """Three rows, the first padded on its left, the second on its right; with labels where there is a loss."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randint(4, 20, shape, generator=generator)

    if model.main_input_name == "past_values":
        past, future = torch.randn(3, 5, 2, generator=generator), torch.randn(3, 4, 2, generator=generator)
        observed = torch.ones(3, 5, 2)
        observed[0, :2] = observed[1, 3, 1] = 0
        return {"past_values": past, "past_observed_mask": observed, "future_values": future}
    if model.main_input_name == "pixel_values":
        inputs = {"pixel_values": torch.randn(3, 1, 4, 6, generator=generator)}
    else:
        mask = torch.ones(3, 6, dtype=torch.long)
        mask[0, :3] = mask[1, 4:] = 0
        inputs = {"input_ids": draw(3, 6).masked_fill(mask == 0, 0), "attention_mask": mask}
    name, config = type(model).__name__, model.config
    if name.endswith("Model"):
        return {**inputs, "decoder_input_ids": draw(3, 5)} if config.is_encoder_decoder else inputs
    if "CausalLM" in name or "MaskedLM" in name:
        labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    elif config.is_encoder_decoder:
        labels = draw(3, 5)
        labels[2, 3:] = -100
    elif "Token" in name:
        labels = (draw(3, 6) % config.num_labels).masked_fill(inputs["attention_mask"] == 0, -100)
    elif config.problem_type == "multi_label_classification":
        labels = torch.randint(2, (3, config.num_labels), generator=generator).float()
    else:
        labels = draw(3) % config.num_labels if config.num_labels > 1 else draw(3).float()
    return {**inputs, "labels": labels}


@torch.no_grad()
def outputs_of(model, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the model computes: its first output, its losses, and what it writes if it can."""
    outputs = model.eval()(**inputs)
    name = next(
        name for name in ("logits", "prediction_outputs", "last_hidden_state") if outputs.get(name) is not None
    )
    results = {"output": outputs[name]}
    if outputs.get("loss") is not None:
        results["loss"] = outputs.loss
        results["loss_in_training"] = dropout_off(model)(**inputs).loss
    if model.can_generate():
        prompt = {"input_ids": inputs["input_ids"][:1], "attention_mask": inputs["attention_mask"][:1]}
        settings = {"max_new_tokens": 6, "do_sample": False}
        results["written"] = model.eval().generate(**prompt, **settings)
        results["written_by_beams"] = model.generate(**prompt, **settings, num_beams=3)
    return results


def dropout_off(model):
    """The model in training mode, less its dropout: with the losses that only training has."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    return model


def write(name: str) -> None:
    """Draw a model's weights, save it, and beside it what goes in and what comes out."""
    class_name, fields = CHECKPOINTS[name]
    model_class = getattr(seqnlp, class_name)
    torch.manual_seed(0)
    model = model_class(model_class.config_class(**fields)).eval()
    model.save_pretrained(FOLDER / name)
    inputs = inputs_of(model)
    outputs = {f"outputs.{key}": value.contiguous() for key, value in outputs_of(model, inputs).items()}
    tensors = {f"inputs.{key}": value for key, value in inputs.items()} | outputs
    save_file(tensors, FOLDER / name / "expected.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    for missing in (name for name in CHECKPOINTS if not (FOLDER / name).exists()):
        write(missing)
