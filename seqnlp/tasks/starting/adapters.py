"""Adapters by PEFT: a few new weights are trained in a model whose own stay, and are merged into them at the end."""

import copy
import dataclasses
import importlib.util
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from ...extras import install
from ...training import ArgumentsError
from ...training.errors import in_one_line
from ...training.parsing import read_fields


ADAPTER = "adapter"
"""The folder, beside the merged model, of the adapter alone."""


def read_adapter_config(method: str, text: str | None, auto_class: type) -> Any:
    """
    The configuration of a method of PEFT.

    Args:
        method: Its name, such as `lora`.
        text: What `--peft_config` says.
        auto_class: The Auto class of the model, from which PEFT's name of the task follows.

    Returns:
        A `peft.PeftConfig`.

    Raises:
        ArgumentsError: If there is no such method, it cannot be merged into weights, or its fields do not fit.
    """
    if importlib.util.find_spec("peft") is None:
        raise ArgumentsError(f"--peft {method} needs {install('peft')}.")
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType

    known = {kind.value.lower(): PEFT_TYPE_TO_CONFIG_MAPPING.get(kind) for kind in PeftType}
    config_class = known.get(method.lower())
    if config_class is None:
        raise ArgumentsError(f"--peft {method}: PEFT has no such method; there is {', '.join(sorted(known))}.")
    fields = {one.name for one in dataclasses.fields(config_class)}
    given = {"target_modules": "all-linear"} if "target_modules" in fields else {}
    given |= read_fields("peft_config", text, fields, config_class.__name__, "r=8")
    try:
        config = config_class(task_type=_task_type(auto_class), **given)
    except Exception as error:  # of as many kinds as there are methods
        raise ArgumentsError(f"--peft {method} --peft_config {text or ''}: {in_one_line(error, 240)}") from error
    if config.is_prompt_learning:
        raise ArgumentsError(
            f"--peft {method} puts tokens in front of a text and leaves nothing to merge into the weights, as every "
            "model that is saved here has it; take lora or another method that changes weights."
        )
    return config


def _task_type(auto_class: type) -> str | None:
    """PEFT's name of the task whose `AutoPeftModelFor...` loads such models; `None` where it has none."""
    from peft import MODEL_TYPE_TO_PEFT_MODEL_MAPPING, auto

    of_auto_class = {
        known._target_class: known._target_peft_class
        for known in vars(auto).values()
        if isinstance(known, type) and issubclass(known, auto._BaseAutoPeftModel)
    }
    wanted = of_auto_class.get(auto_class)
    return next((name for name, known in MODEL_TYPE_TO_PEFT_MODEL_MAPPING.items() if known is wanted), None)


class Adapter:
    """
    Adapters in a model, which is changed in place: it stays of its class, and trains and is saved as before.

    Args:
        model: The model.
        config: From [`read_adapter_config`].
        new: Modules and weights of the model that are drawn anew, such as a head: they are trained whole.
        source: Name and revision of the model, by which the adapter alone finds it again.

    Raises:
        ArgumentsError: If the method does not fit the model, or what it adds cannot be merged.
    """

    def __init__(self, model: PreTrainedModel, config: Any, new: Iterable[str], source: tuple[str, str | None]):
        from peft import get_peft_model

        method = config.peft_type.value.lower()
        whole = {*_modules(model, new), *(getattr(config, "modules_to_save", None) or ())}
        if whole:
            config.modules_to_save = sorted(whole)
        names = set(model.state_dict())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of transformers, for what PEFT asks it
                warnings.filterwarnings("ignore", "fan_in_fan_out")  # which PEFT sets right by itself
                self._peft_model = get_peft_model(model, config)
        except Exception as error:  # of as many kinds as there are methods
            raise ArgumentsError(f"--peft {method}: {in_one_line(error, 240)}") from error
        config.base_model_name_or_path, config.revision = source
        drop = getattr(model.config, "weight_drop", 0.0)
        if drop and any(name.endswith("recurrent_proj.base_layer") for name, _ in model.named_modules()):
            raise ArgumentsError(
                f"--peft {method} is put around the recurrent maps, whose weights the model's weight_drop={drop:g} "
                "would drop: add --config_overrides weight_drop=0."
            )
        self._try_merging(method, names)
        self.described = {"method": method, "trained_parameters": self._count_trained()}

    def _count_trained(self) -> int:
        return sum(parameter.numel() for parameter in self._peft_model.parameters() if parameter.requires_grad)

    def _try_merging(self, method: str, names: set[str]) -> None:
        """With a copy now, and not only when the model is trained."""
        try:
            merged = copy.deepcopy(self._peft_model).merge_and_unload()
        except Exception as error:  # of as many kinds as there are methods
            raise ArgumentsError(f"--peft {method} cannot be merged: {in_one_line(error, 240)}") from error
        if set(merged.state_dict()) != names:
            raise ArgumentsError(f"--peft {method} cannot be merged into the weights of this model; take lora.")

    def merge(self) -> Callable[[Path], None]:
        """
        Put the adapters into the weights (of LoRA, `W + B A * lora_alpha / r`, Hu et al. 2021, arXiv 2106.09685,
        section 4.1), so that the model is an ordinary one again.

        Returns:
            Saves the adapter alone, as it was before, into the folder `adapter` of the folder that it is given.
        """
        self.described["trained_parameters"] = self._count_trained()  # fewer, where some were frozen since
        kept = tempfile.TemporaryDirectory()
        self._peft_model.save_pretrained(kept.name, save_embedding_layers=False)  # they are not resized
        model = self._peft_model.merge_and_unload()
        model.requires_grad_(True)

        def save(folder: Path) -> None:
            (folder / ADAPTER).mkdir()
            for file in ("adapter_config.json", "adapter_model.safetensors"):
                shutil.copy(Path(kept.name) / file, folder / ADAPTER)

        return save


def _modules(model: PreTrainedModel, names: Iterable[str]) -> list[str]:
    """The modules of these names; of a weight alone the module that it is in."""
    modules = dict(model.named_modules())
    return [name if name in modules else name.rpartition(".")[0] for name in names]
