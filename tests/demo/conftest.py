"""Small models of every head, as a user names them: in folders."""

import json

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTImageProcessorPil,
)

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    RecurrentForTimeSeriesPrediction,
    RecurrentForTokenClassification,
    RecurrentModel,
    RecurrentSeq2SeqConfig,
    RecurrentSeq2SeqForConditionalGeneration,
    VisionTransformerConfig,
    VisionTransformerForImageClassification,
)
from seqnlp.cli.models import load_model
from seqnlp.demo import answerer_for
from seqnlp.tokenization import train_tokenizer


TEXT = "the cat sat on the mat and looked at the dog that looked at the cat on the mat"
TAGS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC"}
SERIES = {"task": "trajectory", "hyperparameters": {"context_length": 4, "prediction_length": 3, "step": 5.0}}
SERIES["hyperparameters"] |= {"step_unit": "min", "value_unit": "mg"}
SERIES |= {"dataset": {"channels": ["height", "width"]}, "metrics": {}, "model": {}}


def make(folder, model, processor=None, run=None):
    model.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    if run is not None:
        (folder / "run.json").write_text(json.dumps(run))


def recipe(task, **settings):
    return {"task": task, "hyperparameters": settings, "dataset": {"name": "none", "splits": {}}, "metrics": {}}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folder of each model by its name."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("tried")
    words = train_tokenizer([TEXT] * 3, "word", 40, min_frequency=1, model_max_length=16)
    pieces = train_tokenizer([TEXT] * 3, "bpe", 270, min_frequency=1)
    tunes = train_tokenizer(["M:6/8\nL:1/8\nK:Gmaj\nABc def|gab gfe|\nT:Jig 4"], "char", 60, min_frequency=1)
    bert_words = train_tokenizer([TEXT] * 3, "word", 40, min_frequency=1, extra_tokens=["[MASK]"])
    bert_words.mask_token = "[MASK]"
    sizes = {"hidden_size": 8, "initializer_range": 0.5}

    def ours(tokenizer, **fields):
        ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
        return {"vocab_size": len(tokenizer), **ids, **sizes, **fields}

    bert = {"vocab_size": len(bert_words), "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    bert |= {**sizes, "pad_token_id": 0}
    images = VisionTransformerConfig(**sizes, image_size=8, patch_size=4, num_attention_heads=2, num_labels=3)
    series = RecurrentConfig(vocab_size=10, **sizes, input_size=2, input_mean=[1.0, 2.0], input_scale=[2.0, 3.0])
    gpt2 = GPT2Config(vocab_size=len(pieces), n_embd=8, n_layer=1, n_head=2, n_positions=12, initializer_range=0.5)
    gpt2.bos_token_id = gpt2.eos_token_id = gpt2.pad_token_id = None
    translator = RecurrentSeq2SeqConfig(**ours(words, decoder_start_token_id=2))
    blind = RecurrentSeq2SeqConfig(**ours(words, decoder_start_token_id=2, attention_type="none"))
    made = {
        "pooling": (RecurrentForSequenceClassification(RecurrentConfig(**ours(pieces, pooling="attention"))), pieces),
        "last": (RecurrentForSequenceClassification(RecurrentConfig(**ours(words, num_labels=3))), words),
        "several": (
            BertForSequenceClassification(BertConfig(**bert, num_labels=3, problem_type="multi_label_classification")),
            bert_words,
        ),
        "number": (BertForSequenceClassification(BertConfig(**bert, num_labels=1)), bert_words),
        "tagger": (
            RecurrentForTokenClassification(
                RecurrentConfig(**ours(words, id2label=TAGS, label2id={name: key for key, name in TAGS.items()}))
            ),
            words,
        ),
        "bert_tagger": (BertForTokenClassification(BertConfig(**bert, num_labels=3)), bert_words),
        "masked": (BertForMaskedLM(BertConfig(**bert)), bert_words),
        "lm": (
            RecurrentForCausalLM(RecurrentConfig(**ours(pieces))),
            pieces,
            recipe("language_modeling", temperature=0.7, sample_length=6),
        ),
        "gpt2": (GPT2LMHeadModel(gpt2), pieces),
        "music": (
            RecurrentForCausalLM(RecurrentConfig(**ours(tunes))),
            tunes,
            recipe("music_generation", max_length=20),
        ),
        "translator": (RecurrentSeq2SeqForConditionalGeneration(translator), words),
        "blind": (RecurrentSeq2SeqForConditionalGeneration(blind), words),
        "images": (
            VisionTransformerForImageClassification(images),
            ViTImageProcessorPil(size={"height": 8, "width": 8}),
        ),
        "series": (RecurrentForTimeSeriesPrediction(series), None, SERIES),
        "states": (RecurrentModel(RecurrentConfig(**ours(words))), words),
        "unbounded": (
            RobertaForSequenceClassification(RobertaConfig(**{**bert, "pad_token_id": 1}, max_position_embeddings=10)),
            train_tokenizer([TEXT] * 3, "word", 40, min_frequency=1),
        ),
    }
    for name, parts in made.items():
        make(root / name, *parts)
    return root


@pytest.fixture(scope="session")
def named(folders):
    """A model by its name, loaded once."""
    loaded = {}

    def load(name):
        if name not in loaded:
            loaded[name] = load_model(str(folders / name))
        return loaded[name]

    return load


@pytest.fixture(scope="session")
def ask(named):
    """What answers for a model."""
    return lambda name: answerer_for(named(name))
