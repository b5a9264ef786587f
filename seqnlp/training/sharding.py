"""What a model needs before and after FSDP2 shards its weights over the processes."""

from torch import nn
from torch.distributed.fsdp import register_fsdp_forward_method
from transformers import PreTrainedModel


def join_tied_embeddings(model: PreTrainedModel) -> None:
    """
    Make embeddings of one weight, an encoder's and a decoder's, one module.

    FSDP2 wants all modules of a weight in one group. Accelerate puts the input and the output embedding there and
    knows of no others. Parameters, their names and the checkpoints stay as they are.
    """
    first: dict[int, nn.Embedding] = {}
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Embedding):
                setattr(parent, name, first.setdefault(id(child.weight), child))


def let_shards_generate(model: PreTrainedModel) -> None:
    """
    Let `generate` and, of models of series, `draw_paths` work where FSDP2 has sharded `model`. Models that have
    neither are left as they are.

    Every forward pass needs every process, so none may stop generating before all have come to an end, which
    transformers sees to for models that it sharded itself; and an encoder that `generate` calls by itself needs the
    weights that belong to the whole model.
    """
    if model.can_generate():
        model._is_fsdp_managed_module = True
    for name in ("generate", "draw_paths"):
        if hasattr(model, name):
            register_fsdp_forward_method(model, name)
