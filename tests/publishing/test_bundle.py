"""What is saved for publishing is read back before it goes anywhere."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from seqnlp import RecurrentConfig, RecurrentForCausalLM
from seqnlp.publishing import PublishingError
from seqnlp.publishing.bundle import save_model


def test_weights_that_do_not_read_back_as_they_were_written_are_refused(tmp_path, monkeypatch):
    model = RecurrentForCausalLM(RecurrentConfig(vocab_size=9, hidden_size=4))
    save_model(model, tmp_path / "good")
    save = RecurrentForCausalLM.save_pretrained

    def damaged(self, folder, **options):
        save(self, folder, **options)
        weights = load_file(f"{folder}/model.safetensors")
        name = min(weights)
        save_file({**weights, name: torch.zeros_like(weights[name])}, f"{folder}/model.safetensors", {"format": "pt"})

    monkeypatch.setattr(RecurrentForCausalLM, "save_pretrained", damaged)
    with pytest.raises(PublishingError, match="does not read back as it was written: is the disk full"):
        save_model(model, tmp_path / "damaged")
