"""Programs of torch.export, loaded where neither transformers nor seqnlp can be imported."""

import json
import subprocess
import sys
import zipfile

import pytest
import torch
from exported_heads import HEADS, head, tokenizer

from seqnlp.export import export


STRANGER = """
import sys
for name in ("transformers", "seqnlp"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
import torch
from load import load
with torch.no_grad():
    (logits,) = load()["model"](torch.tensor([[7, 5, 9, 6], [0, 0, 8, 5]]), torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]]))
print(logits.tolist())
"""


@torch.no_grad()
def test_a_stranger_loads_it_and_has_the_same_logits(tmp_path):
    model = head("encoder classifier")
    checks = export(model, tokenizer(), "torch", tmp_path / "program")
    assert [check.name for check in checks] == ["outputs to the bit", "outputs of 8 batches, whole and padded"]
    assert all(check.passed for check in checks), checks
    command = [sys.executable, "-I", "-c", STRANGER, str(tmp_path / "program")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ids, mask = torch.tensor([[7, 5, 9, 6], [0, 0, 8, 5]]), torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    assert torch.equal(torch.tensor(json.loads(done.stdout)), model(ids, attention_mask=mask).logits)
    assert len((tmp_path / "program" / "load.py").read_text().splitlines()) <= 15
    with zipfile.ZipFile(tmp_path / "program" / "model.pt2") as archive:  # no file of whoever traced it is named
        content = b"".join(map(archive.read, archive.namelist()))
    assert b"site-packages" not in content
    assert b"seqnlp/" not in content


@torch.no_grad()
def test_attention_over_a_series_is_held_to_its_numbers_and_not_to_the_bit(tmp_path):
    # This one's roll-out differs in the last digit.
    fields = {"num_attention_heads": 2, "hidden_size": 16, "head_dim": 6, "position_embedding_type": "rotary"}
    checks = export(head("decoder series", **fields), None, "torch", tmp_path / "program")
    assert [check.name for check in checks] == ["outputs of 3 batches, whole and padded"]
    assert checks[0].passed, checks


@pytest.mark.long
@pytest.mark.parametrize("name", HEADS)
def test_every_head(name, tmp_path):
    checks = export(head(name), None, "torch", tmp_path / "program")
    assert all(check.passed for check in checks), checks
