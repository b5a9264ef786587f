import re
import runpy
import sys
from pathlib import Path

import pytest

import seqnlp
from seqnlp.models import requirements


MODELS = Path(requirements.__file__).parent


def test_an_older_transformers_is_named_in_one_line(monkeypatch):
    runpy.run_path(requirements.__file__)
    # What `import transformers` gives now; another module may have been bound when it was first imported.
    monkeypatch.setattr(sys.modules["transformers"], "__version__", "5.9.2")
    with pytest.raises(ImportError) as raised:
        runpy.run_path(requirements.__file__)
    assert str(raised.value) == (
        'This model needs transformers 5.24 or newer, and 5.9.2 is installed: pip install -U "transformers>=5.24"'
    )


def test_it_is_the_floor_of_the_package():
    text = (MODELS.parents[1] / "pyproject.toml").read_text()
    assert re.search(r'"transformers>=([\d.]+)', text).group(1) == requirements.TRANSFORMERS


@pytest.mark.parametrize("path", sorted(MODELS.glob("configuration_*.py")), ids=lambda path: path.stem)
def test_every_configuration_asks_for_it_first(path):
    imports = [line for line in path.read_text().splitlines() if re.match(r"(from|import) ", line)]
    assert imports[0].startswith("from .requirements import")


CONFIGS = [getattr(seqnlp, name) for name in seqnlp.__all__ if name.endswith("Config")]


@pytest.mark.parametrize("config_class", CONFIGS, ids=lambda config_class: config_class.__name__)
def test_what_no_model_reads_is_told(config_class, caplog, tmp_path):
    """A setting of transformers' Gemma that changes what is computed there, one of another family here, and a slip."""
    other = "num_attention_heads" if "Recurrent" in config_class.__name__ else "cell_type"
    caplog.clear()
    requirements.logger.warning_once.cache_clear()
    config = config_class(final_logit_softcapping=30.0, hiden_size=8, **{other: 2})
    assert {line.removeprefix(f"{config_class.__name__} has no setting ") for line in caplog.messages} == {
        "final_logit_softcapping: final_logit_softcapping=30.0 is saved and changes nothing.",
        "hiden_size: hiden_size=8 is saved and changes nothing; did you mean hidden_size?",
        f"{other}: {other}=2 is saved and changes nothing.",
    }
    caplog.clear()
    requirements.logger.warning_once.cache_clear()
    config = config_class(num_labels=1, return_dict=True, output_attentions=True, label2id={"a": 0}, id2label={0: "a"})
    config.auto_map, config.target_tokenizer = {"AutoModel": "modeling.Model"}, "target_tokenizer"
    config.use_cache = False  # as transformers' Trainer does, whatever the model
    config.save_pretrained(tmp_path)
    config_class.from_pretrained(tmp_path)
    assert caplog.messages == []
