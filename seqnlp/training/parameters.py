"""Which weights are trained, and how fast: modules that stay as they are, and a learning rate for each layer."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from .errors import ArgumentsError


SHOWN = 6


def freeze(model: nn.Module, patterns: Sequence[str]) -> int:
    """
    Let modules keep their weights in training.

    Args:
        model: The model.
        patterns: Patterns of the shell (`*`, `?`, `[01]`) for the names of modules or weights; what lies in a module
            that one names goes with it. A weight that has several names goes by each of them.

    Returns:
        How many numbers stay as they are.

    Raises:
        ArgumentsError: For a pattern that fits nothing, and where nothing is left to train.
    """
    named = list(model.named_parameters(remove_duplicate=False))
    for pattern in patterns:
        chosen = [parameter for name, parameter in named if any(fnmatchcase(part, pattern) for part in prefixes(name))]
        if not chosen:
            known = sorted({name for name, _ in model.named_modules() if name and name.count(".") < 2})
            more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
            raise ArgumentsError(
                f"--freeze {pattern}: no module or weight has such a name; there is {', '.join(known[:SHOWN])}{more}."
            )
        for parameter in chosen:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ArgumentsError(f"--freeze {' '.join(patterns)}: nothing is left to train.")
    return sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)


def freeze_unsaved(model: nn.Module) -> None:
    """
    Let weights that a model of transformers leaves out of its file keep their values, so that what is trained is
    saved: they are filled in anew when it is loaded, as the sinusoids of Marian are.
    """
    unsaved = set(getattr(model, "_keys_to_ignore_on_save", None) or ())
    named = list(model.named_parameters(remove_duplicate=False))
    saved = {id(parameter) for name, parameter in named if name not in unsaved}
    for name, parameter in named:
        if name in unsaved and id(parameter) not in saved:
            parameter.requires_grad_(False)


def prefixes(name: str) -> list[str]:
    """The names of the modules in which a weight lies, from the outermost on, and its own."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def lists_of(model: nn.Module) -> list[str]:
    """The names of the `ModuleList`s that lie in no other one, in the order in which the model holds them."""
    lists = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)]
    return [name for name in lists if not any(other in prefixes(name)[:-1] for other in lists)]


def layers_of(model: nn.Module) -> dict[str, int]:
    """
    The number of each layer, from 1 on, by its name.

    A layer is an entry of a list of [`lists_of`], unless it is itself a list of single maps, which stand beside one
    another, as those of a bridge between encoder and decoder do. Several lists, as those of an encoder and a decoder,
    are counted on.
    """
    entries = {f"{name}.{index}": e for name in lists_of(model) for index, e in enumerate(model.get_submodule(name))}
    names = [name for name, entry in entries.items() if not _is_list_of_maps(entry)]
    return {name: number for number, name in enumerate(names, start=1)}


def _is_list_of_maps(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList) and not any(list(part.children()) for part in module)


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """
    The weights of two dimensions that lie in a stack, see [`lists_of`], and are no embeddings: those of the layers,
    and those beside them, as a recurrent decoder's attention is. Heads stand outside of a stack.

    A stack is the module that holds a list of layers; where that is the model itself, which holds its heads too, the
    list alone.
    """
    stacks = {name.rsplit(".", 1)[0] for name in lists_of(model)}
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.dim() == 2 and id(parameter) not in embeddings and not stacks.isdisjoint(prefixes(name))
    ]


def depths(model: nn.Module) -> dict[str, int]:
    """
    How deep each weight lies, by its name: 0 below the first layer, where embeddings are; then the number of its
    layer; and one more for what stands on the last layer, such as a head.

    What stands between two lists of layers goes with the layer before.

    Raises:
        ArgumentsError: If the model has no layers, see [`layers_of`].
    """
    layers = layers_of(model)
    if not layers:
        raise ArgumentsError(f"--layerwise_lr_decay: a {type(model).__name__} has no layers to tell apart.")
    found, current = {}, 0
    for name, _ in model.named_parameters():
        inside = next((layers[part] for part in prefixes(name) if part in layers), None)
        if inside is None and current == len(layers):
            inside = current + 1
        current = current if inside is None else min(inside, len(layers))
        found[name] = current if inside is None else inside
    return found
