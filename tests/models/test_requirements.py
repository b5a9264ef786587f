import re
import runpy
from pathlib import Path

import pytest
import transformers

from seqnlp.models import requirements


MODELS = Path(requirements.__file__).parent


def test_an_older_transformers_is_named_in_one_line(monkeypatch):
    runpy.run_path(requirements.__file__)
    monkeypatch.setattr(transformers, "__version__", "5.9.2")
    with pytest.raises(ImportError) as raised:
        runpy.run_path(requirements.__file__)
    assert str(raised.value) == (
        'This model needs transformers 5.23 or newer, and 5.9.2 is installed: pip install -U "transformers>=5.23"'
    )


def test_it_is_the_floor_of_the_package():
    text = (MODELS.parents[1] / "pyproject.toml").read_text()
    assert re.search(r'"transformers>=([\d.]+)', text).group(1) == requirements.TRANSFORMERS


@pytest.mark.parametrize("path", sorted(MODELS.glob("configuration_*.py")), ids=lambda path: path.stem)
def test_every_configuration_asks_for_it_first(path):
    imports = [line for line in path.read_text().splitlines() if re.match(r"(from|import) ", line)]
    assert imports[0].startswith("from .requirements import")
