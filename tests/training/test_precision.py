"""Which precision a run computes in: asked for, configured, or chosen by hardware."""

import json

import pytest
import torch

from seqnlp.training import ArgumentsError, TrainingArguments, start_run
from seqnlp.training.precision import choose_precision, precision_remark


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in ("ACCELERATE_MIXED_PRECISION", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_DEEPSPEED_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hardware(monkeypatch):
    def pretend(*, can=(), cuda=False, bf16=False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(can, True))
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)

    return pretend


@pytest.mark.parametrize(
    ("can", "expected"),
    [((), "no"), (("avx512_bf16",), "bf16"), (("amx_bf16",), "bf16"), (("avx512_vnni",), "no")],
)
def test_auto_on_a_cpu(hardware, can, expected):
    hardware(can=can, cuda=True, bf16=True)  # a GPU that is not to be used
    assert choose_precision("auto", on_cpu=True) == expected


@pytest.mark.parametrize(("bf16", "expected"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_gpu(hardware, bf16, expected):
    hardware(cuda=True, bf16=bf16)
    assert choose_precision("auto", on_cpu=False) == expected
    hardware(cuda=False)  # an accelerator of another make
    assert choose_precision("auto", on_cpu=False) == "no"


@pytest.mark.parametrize("asked", ["no", "bf16"])
def test_what_is_asked_for_is_taken(asked):
    assert choose_precision(asked, on_cpu=True) == asked


def test_that_bf16_is_emulated_is_said(hardware):
    hardware(can=["avx512_vnni"], cuda=True, bf16=True)
    assert precision_remark("bf16", on_cpu=True).startswith("This processor has neither AMX nor AVX512-BF16: bf16 is")
    assert [precision_remark(name, on_cpu=True) for name in ("no", "fp16")] == ["", ""]
    assert precision_remark("bf16", on_cpu=False) == ""
    hardware(can=["avx512_bf16"], cuda=True, bf16=False)
    assert precision_remark("bf16", on_cpu=True) == ""
    assert precision_remark("bf16", on_cpu=False).startswith("This GPU does not multiply bfloat16: bf16 is emulated")
    hardware()  # an accelerator of another make
    assert precision_remark("bf16", on_cpu=False) == ""


def test_a_run_says_it(hardware, tmp_path, capsys):
    arguments = {"report_to": "none", "mixed_precision": "bf16"}
    hardware()
    start_run("x", "gru", TrainingArguments(output_dir=str(tmp_path / "a"), **arguments))
    assert "bf16 is emulated" in capsys.readouterr().out
    hardware(can=["amx_bf16"])
    start_run("x", "gru", TrainingArguments(output_dir=str(tmp_path / "b"), **arguments))
    assert "emulated" not in capsys.readouterr().out


def test_fp16_needs_a_gpu():
    assert choose_precision("fp16", on_cpu=False) == "fp16"
    with pytest.raises(ArgumentsError, match="--mixed_precision fp16 needs a GPU: on this CPU use bf16, no, or auto"):
        choose_precision("fp16", on_cpu=True)


@pytest.mark.parametrize("launched", ["bf16", "fp16"])
def test_the_launcher_must_not_be_contradicted(monkeypatch, hardware, launched):
    """It is all that a configuration for FSDP can say; `no` is also what stands there when nobody said anything."""
    hardware(cuda=True, bf16=True)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    assert choose_precision("auto", on_cpu=False) == launched
    assert choose_precision(launched, on_cpu=False) == launched
    with pytest.raises(ArgumentsError, match=f"--mixed_precision no: accelerate launch was given {launched}. Change"):
        choose_precision("no", on_cpu=False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert choose_precision("bf16", on_cpu=False) == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    with pytest.raises(ArgumentsError, match="--mixed_precision auto: accelerate launch was given fp16, which a CPU"):
        choose_precision("auto", on_cpu=True)


@pytest.mark.parametrize(
    ("config", "fits", "auto"),
    [
        ({"bf16": {"enabled": True}}, ["bf16"], "bf16"),
        ({"fp16": {"enabled": True}, "bf16": {"enabled": False}}, ["fp16"], "fp16"),
        ({"bf16": {"enabled": False}}, ["no", "fp16"], "fp16"),
        ({"bf16": {"enabled": False}, "fp16": {"enabled": False}}, ["no"], "no"),
        ({"bf16": {"enabled": "auto"}}, ["no", "bf16", "fp16"], "bf16"),
        ({"zero_optimization": {"stage": 2}}, ["no", "bf16", "fp16"], "bf16"),
    ],
)
def test_deepspeed_must_not_be_contradicted(monkeypatch, hardware, tmp_path, config, fits, auto):
    hardware(cuda=True, bf16=True)
    file = tmp_path / "zero.json"
    file.write_text(json.dumps(config))
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(file))
    for asked in ("no", "bf16", "fp16"):
        if asked in fits:
            assert choose_precision(asked, on_cpu=False) == asked
        else:
            with pytest.raises(ArgumentsError, match=f"{asked}: the DeepSpeed configuration {file} turns") as raised:
                choose_precision(asked, on_cpu=False)
            assert "\n" not in str(raised.value)
    assert choose_precision("auto", on_cpu=False) == auto
    file.write_text("{")
    with pytest.raises(ArgumentsError, match="cannot be read"):
        choose_precision("auto", on_cpu=False)


def test_the_run_records_what_was_chosen(tmp_path, hardware):
    hardware(can=["amx_bf16"])
    arguments = TrainingArguments(output_dir=str(tmp_path), mixed_precision="auto", report_to="none", num_threads=1)
    run = start_run("test", "transformer", arguments)
    assert run.record.hyperparameters["mixed_precision"] == arguments.mixed_precision == "bf16"
    assert run.accelerator.mixed_precision == "bf16"
