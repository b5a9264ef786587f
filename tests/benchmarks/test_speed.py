import json
import re
import sys
import time

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmarks import other_peers, peers, profiles, speed
from benchmarks import speed_tables as tables
from benchmarks.__main__ import app
from benchmarks.kinds import REST, kind_of, time_by_kind
from benchmarks.timing import Contest, Result, alternate, products_of
from seqnlp.models.losses import chunked_cross_entropy


def spend(milliseconds):
    def action():
        end = time.process_time() + milliseconds / 1000
        while time.process_time() < end:
            pass

    return action


def test_the_ratio_is_that_of_the_times(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    result = alternate(Contest("ours", "peer", spend(4), spend(8), target=1.5, items=("tokens", 4)), rounds=5)

    assert result.ratio == pytest.approx(2, rel=0.1)
    assert result.is_reached
    assert len(result.ours) == len(result.peer) == 5
    assert result.unit == "tokens/s"
    assert sorted(result.ours)[2] == pytest.approx(1000, rel=0.1)


def test_a_target_may_be_a_bound_from_above():
    result = Result("ours", "peer", [2.0], [4.0], ratio=2.0, target=0.5, at_most=True)

    assert result.measured == 0.5
    assert result.is_reached
    result.target = 0.4
    assert result.is_reached is False


def test_all_products_are_counted_also_those_of_our_functions():
    layer = nn.Linear(6, 5, bias=False)
    states = torch.randn(7, 6, requires_grad=True)
    labels = torch.randint(5, (7,))
    product = 2 * 7 * 6 * 5

    assert products_of(lambda: layer(states).sum().backward()) == 3 * product
    assert products_of(lambda: chunked_cross_entropy(states, layer, labels, chunk_size=7).backward()) == 3 * product


def test_attention_s_products_are_counted():
    query, key, value = (torch.randn(2, 3, 16, 4, requires_grad=True) for _ in range(3))
    attend = nn.functional.scaled_dot_product_attention

    assert products_of(lambda: attend(query, key, value).sum().backward()) == (2 + 5) * 2 * (2 * 3 * 16 * 16 * 4)


def test_the_products_of_torch_s_lstm_are_counted():
    layer, inputs = nn.LSTM(16, 8, batch_first=True), torch.randn(3, 5, 16, requires_grad=True)
    of_each_token = 2 * 4 * 8 * (16 + 8)

    assert products_of(lambda: layer(inputs)[0].sum().backward()) == 3 * 3 * 5 * of_each_token


def test_kinds_of_operations():
    assert kind_of("aten::addmm_") == "matrix products"
    assert kind_of("aten::_log_softmax_backward_data") == "softmax and loss"
    assert kind_of("aten::expand") == REST
    assert kind_of("mul") == REST  # not an operator of torch
    shares = time_by_kind(lambda: torch.randn(300, 300) @ torch.randn(300, 300))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["matrix products"] > 0


@pytest.mark.parametrize(
    ("ours", "peer"),
    [
        (peers.our_decoder, peers.llama),
        (peers.our_decoder, peers.gpt2),
        (peers.our_translator, peers.marian),
        (peers.our_decoder, other_peers.TorchLanguageModel),
        (peers.our_translator, other_peers.TorchTranslator),
        (peers.our_encoder, peers.bert),
        (peers.our_lstm, peers.llama),
    ],
)
def test_peers_are_of_equal_size(ours, peer):
    sizes = peers.Sizes()
    ours, peer = (sum(p.numel() for p in make(sizes).parameters() if p.requires_grad) for make in (ours, peer))
    # Positions are learned in GPT-2 alone, and BERT reads two segments and has a pooler.
    assert ours == pytest.approx(peer, rel=0.06)


def test_torch_s_peers_learn_what_ours_do():
    sizes = peers.Sizes(vocab_size=40, width=8, layers=1, heads=2)
    tokens = peers.random_tokens(3, 6, sizes.vocab_size)
    mask = torch.arange(6) < torch.tensor([[6], [4], [2]])
    labels = tokens.masked_fill(~mask, -100)
    language_model, translator = other_peers.TorchLanguageModel(sizes), other_peers.TorchTranslator(sizes)
    translated = translator(tokens, mask, labels).loss

    # What stands at padding is not read, and each label's token is predicted from those before it alone.
    torch.testing.assert_close(translator(tokens.masked_fill(~mask, 7), mask, labels).loss, translated)
    torch.testing.assert_close(
        language_model(tokens, labels.where(torch.arange(6) < 4, -100)).loss,
        language_model(tokens[:, :4], labels[:, :4]).loss,
    )
    # With equal logits each label costs the logarithm of the vocabulary, however many there are.
    for model in (language_model, translator):
        model.tokens.weight.data.zero_()
    for loss in (language_model(tokens, labels).loss, translator(tokens, mask, labels).loss):
        torch.testing.assert_close(loss, torch.tensor(40.0).log())


def test_a_peer_that_is_not_installed_stops_no_other(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "joeynmt.model", None)
    monkeypatch.setitem(
        speed.BENCHMARKS, "seq2seq", speed.Benchmark("another", lambda: iter([Contest("a", "b", spend(1), spend(1))]))
    )
    speed.measure_all(["joeynmt", "seq2seq"], rounds=5, threads=1, keep=False)

    shown = capsys.readouterr().out
    assert "not measured: JoeyNMT cannot be imported" in shown
    assert other_peers.INSTALL_JOEYNMT in shown
    assert "another (seq2seq)" in shown


@pytest.mark.parametrize("can", [["avx2"], ["avx2", "avx512_bf16"]])
def test_what_the_processor_emulates_is_not_measured(monkeypatch, capsys, can):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(can, True))
    contests = [Contest("a", "b", spend(1), spend(1), product_type=dtype) for dtype in ("float32", "bfloat16")]
    measured = list(speed.Benchmark("both", lambda: iter(contests)).run(rounds=5))

    assert len(measured) == len(can)
    told = "a: not measured, this processor emulates bfloat16"
    assert (told in capsys.readouterr().err) is (len(can) == 1)


def test_the_readme_holds_what_the_files_say(tmp_path, monkeypatch):
    copy = tmp_path / "README.md"
    copy.write_text(tables.README.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(tables, "README", copy)
    tables.write_readme()

    assert copy.read_text(encoding="utf-8") == (tables.HERE / "README.md").read_text(encoding="utf-8")


def test_every_verb_has_its_help_and_the_names_are_checked():
    run = CliRunner()
    assert run.invoke(app, ["--help"]).exit_code == 0
    listed = run.invoke(app, ["speed", "--list"])
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.output.splitlines()] == list(speed.BENCHMARKS)
    for verb in ("speed", "profiles"):
        refused = run.invoke(app, [verb, "juggling"])
        assert refused.exit_code == 2
        assert "juggling: not one of" in refused.output
    recipes = {path.stem for path in (tables.HERE.parent / "recipes").glob("*.py")}
    assert set(profiles.RUNS) == recipes


def test_people_read_at_most_seven_columns_and_the_command_that_measures_again():
    text = tables.README.read_text(encoding="utf-8")
    assert max(line.count("|") for line in text.splitlines()) == 7 + 1
    commands = re.findall(r"`python -m benchmarks (speed .*?)`", text)
    assert len(commands) == len(list(tables.SPEED.glob("*.json")))
    for command in commands:
        verb, name, *flags = command.split()
        assert name in speed.BENCHMARKS
        assert CliRunner().invoke(app, [verb, *flags, "--list"]).exit_code == 0


def test_kinds_are_shown_the_largest_first_and_small_ones_not_at_all():
    table = tables.kinds_table([("work", {"norms": 0.3, "matrix products": 0.69, "optimizer": 0.01})])
    assert table.splitlines()[-1] == "| work | matrix products 69%; norms 30% |"


def test_every_row_is_kept():
    kept = {json.loads(path.read_text(encoding="utf-8"))["benchmark"] for path in tables.SPEED.glob("*.json")}
    rows = tables.targets_table(tables.read(tables.SPEED)).splitlines()

    assert {"recurrent-layer", "language-model", "seq2seq", "generation", "beams", "long-text", "loop"} <= kept
    assert len(rows) > 2 + len(kept)
