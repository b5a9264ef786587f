"""The names that `import seqnlp` announces before torch is imported, and the ways on which the classes come."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import seqnlp
from seqnlp import RecurrentSeq2SeqConfig, RecurrentSeq2SeqForConditionalGeneration, models
from seqnlp.tokenization import train_tokenizer


IMPORTS = {
    "seqnlp first": "import seqnlp\nfrom transformers import AutoModelForSeq2SeqLM, AutoTokenizer, pipeline",
    "seqnlp between": "import transformers as t, seqnlp\n"
    "AutoModelForSeq2SeqLM, AutoTokenizer, pipeline = t.AutoModelForSeq2SeqLM, t.AutoTokenizer, t.pipeline",
    "seqnlp last": "from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, pipeline\nimport seqnlp",
}
STRANGER = """
import json, sys
{imports}
folder = sys.argv[1]
assert "seqnlp.models" not in sys.modules
model = AutoModelForSeq2SeqLM.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
translate = pipeline("seqnlp-translation", model=folder)
print(json.dumps([type(model).__module__, type(tokenizer).__name__, type(translate).__module__, translate("a cat")]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A translator as it is published: with its code, which must not be asked about."""
    torch.manual_seed(0)
    words = {"vocab_size": 280, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    model = RecurrentSeq2SeqForConditionalGeneration(RecurrentSeq2SeqConfig(hidden_size=8, **words))
    model.config.auto_map = {"AutoConfig": "configuration_recurrent_seq2seq.RecurrentSeq2SeqConfig"}
    path = tmp_path_factory.mktemp("translator")
    model.save_pretrained(path)
    train_tokenizer(["a cat", "eine Katze"], "bpe", 280).save_pretrained(path)
    return path


def test_every_configuration_is_announced_by_its_name():
    found = {getattr(models, name).model_type: name for name in models.__all__ if name.endswith("Config")}
    assert found == seqnlp.CONFIGURATIONS


def test_an_auto_class_makes_every_model():
    offered = [getattr(models, name) for name in models.__all__]
    classes = [one for one in offered if isinstance(one, type) and issubclass(one, PreTrainedModel)]
    made = {
        auto_class._model_mapping.get(one.config_class, None)
        for auto_class in models.AUTO_CLASSES.values()
        for one in classes
    }
    missing = [one.__name__ for one in classes if one not in made]
    assert missing == [], "their names end like none in AUTO_CLASSES"


@pytest.mark.parametrize("order", IMPORTS)
def test_a_folder_alone_brings_the_classes(order, folder):
    code = STRANGER.format(imports=IMPORTS[order])
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    model, tokenizer, pipeline, answer = json.loads(done.stdout)
    assert model == "seqnlp.models.modeling_recurrent_seq2seq"
    assert pipeline == "seqnlp.pipelines.translation"
    assert tokenizer == PreTrainedTokenizerFast.__name__
    assert list(answer) == ["translation_text"]


@pytest.mark.parametrize("part", ["models", "models.configuration_recurrent", "tasks", "training"])
def test_a_part_of_seqnlp_that_brings_the_classes_brings_the_pipeline(part, folder):
    code = f"import sys, seqnlp.{part}\nfrom transformers import pipeline\n"
    code += "pipeline('seqnlp-translation', model=sys.argv[1])('a cat')"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_no_other():
    assert set(seqnlp.__all__) == {*models.__all__, "TranslationPipeline", "__version__"}
    assert set(seqnlp.__all__) <= set(dir(seqnlp))
    assert seqnlp.RecurrentSeq2SeqConfig is RecurrentSeq2SeqConfig
    with pytest.raises(AttributeError, match="module 'seqnlp' has no attribute 'RecurentModel'"):
        seqnlp.RecurentModel  # noqa: B018 - to ask for it is the test
