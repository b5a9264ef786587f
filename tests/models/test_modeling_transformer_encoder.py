"""The encoder: parity with BERT, padding, pooling, pipelines."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, pipeline

from seqnlp import (
    TransformerEncoderConfig,
    TransformerEncoderForMaskedLM,
    TransformerEncoderForSequenceClassification,
    TransformerEncoderForTokenClassification,
    TransformerEncoderModel,
)
from seqnlp.tokenization import train_tokenizer


TEXTS = ["what a fine day it was", "a bad day", "it was what it was", "fine, fine!"]
VARIANTS = {
    "bert": {},
    "today": {
        "position_embedding_type": "rotary",
        "norm_position": "pre",
        "norm_type": "rms_norm",
        "hidden_act": "swiglu",
        "use_bias": False,
        "embedding_norm": False,
        "num_key_value_heads": 1,
    },
    "2017": {"position_embedding_type": "sinusoidal", "hidden_act": "relu", "scale_embedding": True},
}


def config_of(**kwargs):
    sizes = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 0}
    return TransformerEncoderConfig(**{**sizes, "initializer_range": 0.3, **kwargs})


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_outputs_and_gradients_are_those_of_bert(implementation):
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 20,
        "initializer_range": 0.1,
        "attn_implementation": implementation,
    }
    theirs = BertForMaskedLM(BertConfig(**sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    ours = TransformerEncoderForMaskedLM(TransformerEncoderConfig(**sizes, dropout=0.0, attention_dropout=0.0))
    renamed = {}
    for name, tensor in theirs.state_dict(keep_vars=True).items():
        for old, new in (
            ("bert.embeddings.word_embeddings", "model.embed_tokens"),
            ("bert.embeddings.position_embeddings", "model.positions.embed_positions"),
            ("bert.embeddings.LayerNorm", "model.embedding_norm"),
            ("bert.encoder.layer.", "model.layers."),
            ("attention.self.query", "self_attn.q_proj"),
            ("attention.self.key", "self_attn.k_proj"),
            ("attention.self.value", "self_attn.v_proj"),
            ("attention.output.dense", "self_attn.o_proj"),
            ("attention.output.LayerNorm", "self_attn_norm"),
            ("intermediate.dense", "mlp.up_proj"),
            ("output.dense", "mlp.down_proj"),
            ("output.LayerNorm", "mlp_norm"),
            ("cls.predictions.transform.dense", "head_dense"),
            ("cls.predictions.transform.LayerNorm", "head_norm"),
            ("cls.predictions.decoder", "lm_head"),
            ("cls.predictions.bias", "lm_head.bias"),
        ):
            name = name.replace(old, new)
        renamed[name] = tensor
    # Every token is of BERT's sentence A here, so that its vector goes with the positions.
    sentence = renamed.pop("bert.embeddings.token_type_embeddings.weight")
    state = {name: tensor.detach().clone() for name, tensor in renamed.items()}
    state["model.positions.embed_positions.weight"] += sentence[0].detach()
    ours.load_state_dict(state)

    ids, labels = torch.randint(0, 50, (3, 8)), torch.randint(0, 50, (3, 8))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    labels[mask == 0] = -100
    expected, got = (model.train()(ids, attention_mask=mask, labels=labels) for model in (theirs, ours))
    torch.testing.assert_close(got.logits[mask.bool()], expected.logits[mask.bool()], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.loss, expected.loss, rtol=1e-5, atol=1e-5)
    got.loss.backward()
    expected.loss.backward()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, renamed[name].grad, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pooling", ["first", "mean", "max"])
def test_padding_changes_no_valid_output(variant, pooling):
    config = config_of(pooling=pooling, **VARIANTS[variant])
    tagger = TransformerEncoderForTokenClassification(config).eval()
    classifier = TransformerEncoderForSequenceClassification(config).eval()
    row, pad = torch.randint(4, 30, (1, 5)), torch.zeros(1, 3, dtype=torch.long)
    middle = torch.cat([row[:, :2], pad, row[:, 2:]], 1)
    padded = torch.cat([torch.cat([row, pad], 1), torch.cat([pad, row], 1), middle, torch.zeros_like(middle)])
    mask = (padded != 0).long()
    logits = tagger(padded, attention_mask=mask).logits
    for index in range(3):
        torch.testing.assert_close(logits[index, mask[index].bool()], tagger(row).logits[0], rtol=1e-4, atol=1e-4)
    logits = classifier(padded, attention_mask=mask).logits
    torch.testing.assert_close(logits[:3], classifier(row).logits.expand(3, -1), rtol=1e-4, atol=1e-4)
    assert logits.isfinite().all()


def test_a_text_without_positions_is_a_bag_of_words():
    ids = torch.tensor([[5, 6, 7, 8], [8, 6, 5, 7]])
    with_order = TransformerEncoderForSequenceClassification(config_of()).eval()(ids).logits
    assert not torch.allclose(with_order[0], with_order[1], atol=1e-3)
    bag = TransformerEncoderForSequenceClassification(config_of(position_embedding_type="none")).eval()(ids).logits
    torch.testing.assert_close(bag[0], bag[1], rtol=1e-4, atol=1e-4)


def test_explicit_positions_win():
    model = TransformerEncoderModel(config_of()).eval()
    ids, positions = torch.randint(4, 30, (2, 5)), torch.arange(5).expand(2, -1)
    expected = model(ids).last_hidden_state
    torch.testing.assert_close(model(ids, position_ids=positions).last_hidden_state, expected)
    assert not torch.allclose(model(ids, position_ids=positions + 1).last_hidden_state, expected, atol=1e-3)


def test_chunked_masked_language_model_loss_trains_the_same():
    config = config_of(dropout=0.0, attention_dropout=0.0, label_smoothing=0.1)
    model = TransformerEncoderForMaskedLM(config).train()
    ids = torch.randint(4, 30, (3, 7))
    labels = ids.masked_fill(torch.rand(3, 7) > 0.3, -100)

    def step(**kwargs):
        model.zero_grad()
        outputs = model(ids, labels=labels, **kwargs)
        outputs.loss.backward()
        return outputs, {name: p.grad.clone() for name, p in model.named_parameters()}

    for kwargs in ({}, {"num_items_in_batch": 40}):
        model.config.loss_chunk_size = None
        plain, expected = step(**kwargs)
        model.config.loss_chunk_size = 2
        chunked, gradients = step(**kwargs)
        assert chunked.logits is None
        torch.testing.assert_close(chunked.loss, plain.loss)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[name], msg=name)


def test_losses_divide_by_num_items_in_batch_whatever_the_problem():
    ids = torch.randint(30, (4, 6))
    problems = {
        "single_label_classification": torch.tensor([0, 1, 2, 0]),
        "multi_label_classification": torch.randint(2, (4, 3)).float(),
        "regression": torch.randn(4, 3),
    }
    for problem, labels in problems.items():
        model = TransformerEncoderForSequenceClassification(config_of(num_labels=3, problem_type=problem)).eval()
        mean = model(ids, labels=labels).loss
        torch.testing.assert_close(model(ids, labels=labels, num_items_in_batch=labels.numel() * 5).loss, mean / 5)


@pytest.mark.parametrize(
    "model_class", [TransformerEncoderForSequenceClassification, TransformerEncoderForTokenClassification]
)
def test_classifiers_learn(model_class):
    ids = torch.randint(4, 30, (32, 6))
    is_high = (ids > 16).long()
    labels = is_high if model_class is TransformerEncoderForTokenClassification else is_high[:, 0]
    model = model_class(config_of(pooling="first", initializer_range=0.1)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        model(ids, labels=labels).loss.backward()
        optimizer.step()
    assert (model.eval()(ids).logits.argmax(-1) == labels).float().mean() > 0.95


def test_pipelines(tmp_path, caplog):
    tokenizer = train_tokenizer(TEXTS, "word", 60)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    tokenizer.split_special_tokens = False  # here a text may say <mask>
    names = {"id2label": {0: "sad", 1: "glad"}, "label2id": {"sad": 0, "glad": 1}}
    for model_class in (
        TransformerEncoderForSequenceClassification,
        TransformerEncoderForTokenClassification,
        TransformerEncoderForMaskedLM,
    ):
        model_class(config_of(vocab_size=len(tokenizer), **names)).save_pretrained(tmp_path / model_class.__name__)
        tokenizer.save_pretrained(tmp_path / model_class.__name__)
    with caplog.at_level("WARNING", logger="transformers"):
        folder = str(tmp_path / "TransformerEncoderForSequenceClassification")
        classify = pipeline("text-classification", model=folder, device="cpu")
        together = classify(TEXTS, batch_size=3, padding=True)
        np.testing.assert_allclose(
            [classify(text)[0]["score"] for text in TEXTS], [answer["score"] for answer in together], rtol=1e-5
        )
        folder = str(tmp_path / "TransformerEncoderForTokenClassification")
        tag = pipeline("token-classification", model=folder, device="cpu")
        assert {answer["entity"] for answer in tag(TEXTS[0])} <= {"sad", "glad"}
        folder = str(tmp_path / "TransformerEncoderForMaskedLM")
        fill = pipeline("fill-mask", model=folder, device="cpu")
        assert len(fill("it was a <mask> day")) == 5
    assert "not supported" not in caplog.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "last"}, "last"),
        ({"num_attention_heads": 5}, "cannot be split into num_attention_heads=5"),
        ({"rope_theta": 5e5}, "is for position_embedding_type='rotary', not 'learned'"),
        ({"head_dropout": 1.5}, "head_dropout=1.5 must be at least 0 and below 1"),
    ],
)
def test_configurations_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(Exception, match=message):
        config_of(**fields)
