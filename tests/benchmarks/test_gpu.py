"""The run on a GPU, tried on a CPU: its parts find what is true, and one that fails loses nothing of the others."""

import io
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_parity, gpu_report
from benchmarks.gpu_setting import Row, Setting
from seqnlp.models import recurrence
from seqnlp.models.cells import CELLS, LSTMCell


TINY = Setting("cpu", "tiny")


def test_fused_recurrence_agrees_with_the_loop_and_a_fault_is_noticed(monkeypatch):
    rows = list(gpu_parity.fused_recurrence(TINY))
    assert len(rows) == 2 * len(CELLS)
    assert all(row.holds for row in rows)

    def faulty(self, inputs, state, weights):
        outputs, (hidden, cell) = kernel(self, inputs, state, weights)
        return outputs, (hidden, cell * 1.01)

    kernel = LSTMCell.kernel
    monkeypatch.setattr(LSTMCell, "kernel", faulty)
    monkeypatch.setattr(recurrence, "_runs_packed", lambda *args: torch.is_autocast_enabled("cpu"))
    failed = [row.name for row in gpu_parity.fused_recurrence(TINY) if not row.holds]
    assert failed == ["lstm, float32"]


def test_the_scan_is_held_against_single_steps():
    rows = [row for row in gpu_parity.linear_scan(TINY) if "float64" in row.name]
    assert [row.holds for row in rows] == [True, True]


def test_a_row_holds_its_limit_from_either_side():
    assert Row("error", 0.1, limit=0.2).holds
    assert Row("speed", 0.1, limit=0.2, sense=">=").holds is False
    assert Row("nothing found", None, limit=0.2).holds is False
    assert Row("told", 3.0).holds is None


@pytest.mark.parametrize(("how", "state"), [("raises", "failed: ValueError: the card is gone"), ("dies", "failed")])
def test_a_part_that_fails_loses_neither_its_rows_nor_the_others(tmp_path, monkeypatch, how, state):
    """Without processes: what `run_all` makes of what a process leaves behind."""

    class Ended:
        def __init__(self, command, stdout, **_):
            name, file = command[4], command[-1]
            rows = [asdict(Row("found", 1.0, limit=2.0))]
            if name == "scan":
                Path(file).write_text(json.dumps(rows))
                stdout.write("Traceback\nValueError: the card is gone\n" if how == "raises" else "")
                stdout.flush()
            self.code, self.stdin = {"scan": 1}.get(name, 0), io.StringIO()

        def wait(self, timeout=None):
            return self.code

    monkeypatch.setattr(gpu, "describe_device", lambda device: {"processor": "none"})
    monkeypatch.setattr(gpu.subprocess, "Popen", Ended)
    record = gpu.run_all(["scan", "memory"], TINY, tmp_path, minutes=1)
    assert record["parts"]["scan"]["state"].startswith(state)
    assert record["parts"]["scan"]["rows"][0]["name"] == "found"
    assert record["parts"]["memory"]["state"] == "ok"
    assert record["parts"]["memory"]["rows"] == []
    assert [line.split(":")[0] for line in gpu_report.failures(record)] == ["scan"]
    page = (tmp_path / "gpu.md").read_text()
    assert "| found  | 1       | <= 2    | holds |" in page
    assert json.loads((tmp_path / "gpu.json").read_text()) == record


def test_parts_that_are_measured_again_replace_the_kept_ones_of_the_card(tmp_path, monkeypatch):
    def record(**values):
        rows = {name: [asdict(Row("speed", value, "tokens/s"))] for name, value in values.items()}
        parts = {name: {"title": name, "state": "ok", "rows": found} for name, found in rows.items()}
        return {"device": {"card": "A Card"}, "size": "quick", "date": "2026-11-26", "parts": parts}

    monkeypatch.setattr(gpu_report, "KEPT", tmp_path / "kept")
    gpu_report.keep(record(scan=1.0, memory=2.0))
    file = gpu_report.keep(record(scan=3.0))
    table = gpu_report.kept_tables([json.loads(file.read_text())])
    assert file.name == "A_Card.json"
    assert "3 tokens/s" in table
    assert "2 tokens/s" in table
    assert "1 tokens/s" not in table


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in gpu.PARTS if name != "tests"])
def test_every_part_runs_at_a_tiny_size(name, tmp_path):
    record = gpu.run_all([name], TINY, tmp_path, minutes=15)
    assert record["parts"][name]["state"] == "ok", (tmp_path / f"part-{name}.log").read_text()
    assert list(gpu_report.failures(record)) == []
    assert torch.tensor([row["value"] or 0 for row in record["parts"][name]["rows"]]).isfinite().all()
