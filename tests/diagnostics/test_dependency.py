"""The tasks by hand, what counts as right, and training that learns what it can."""

import pytest
import torch
from torch import nn

from seqnlp.diagnostics.dependency import (
    COPIED,
    DEPENDENCY_TASKS,
    KEYS,
    MQAR_VOCABULARY,
    SYMBOLS,
    Batch,
    DependencyError,
    check_distances,
    is_right,
    make_adding,
    make_copy,
    make_mqar,
    make_parity,
    make_recall,
    measure_dependency,
)


def generator():
    return torch.Generator().manual_seed(3)


def test_adding_has_two_marks_and_their_sum_as_its_target():
    for distance in (8, 20, 100):
        batch = make_adding(500, distance, generator())
        numbers, marks = batch.inputs.unbind(-1)
        length = numbers.shape[1]
        assert distance <= length <= 1.1 * distance
        marked = marks == 1
        assert (marked.sum(dim=1) == 2).all()
        torch.testing.assert_close(batch.targets[:, -1], 0.5 + (numbers * marked).sum(dim=1) / 4)
        assert (batch.targets[:, -1] - 0.5).abs().max() <= 0.5
        assert numbers.abs().max() <= 1
        assert (marks[:, -1] == -1).all()
        assert (marks[:, 0] != 0).all()
        assert (numbers[marked[:, 0], 0] == 0).all()
        assert not marked[:, length // 2 :].any()
        assert (marked[:, :10].sum(dim=1) >= 1).all()
        assert torch.equal(batch.asked.nonzero()[:, 1].unique(), torch.tensor([length - 1]))
    # Where the second mark may stand, it does.
    marked = make_adding(2000, 40, generator()).inputs[..., 1] == 1
    assert marked.any(dim=0)[:18].all()


def test_the_best_blind_answer_to_adding_is_right_as_often_as_chance_says():
    batch = make_adding(100_000, 30, generator())
    outputs = torch.full((*batch.targets.shape, 1), 0.5)
    assert is_right(outputs, batch).float().mean() == pytest.approx(DEPENDENCY_TASKS["adding"].chance, abs=0.01)


def test_right_is_a_number_within_the_margin_or_the_likeliest_class():
    asked = torch.tensor([[False, True, True]])
    numbers = Batch(torch.zeros(1, 3), torch.tensor([[9.0, 0.5, 0.5]]), asked)
    assert is_right(torch.tensor([[[0.0], [0.539], [0.541]]]), numbers).tolist() == [True, False]
    classes = Batch(torch.zeros(1, 3), torch.tensor([[0, 1, 0]]), asked)
    assert is_right(torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]]), classes).tolist() == [True, False]
    nan = float("nan")  # of a net that has diverged, whose likeliest class would be the first
    assert is_right(torch.tensor([[[nan, nan], [0.0, 1.0], [nan, nan]]]), classes).tolist() == [True, False]


def test_copy_asks_for_the_symbols_after_the_gap():
    batch = make_copy(50, 9, generator())
    assert batch.inputs.shape == (50, COPIED + 9 + COPIED)
    assert (batch.inputs[:, COPIED:-COPIED] == 0).all()
    assert (batch.inputs[:, -COPIED:] == 1).all()
    assert torch.equal(batch.targets[:, -COPIED:], batch.inputs[:, :COPIED] - 2)
    assert torch.equal(batch.asked[0].nonzero().flatten(), torch.arange(COPIED + 9, COPIED + 9 + COPIED))
    assert batch.inputs.max() == SYMBOLS + 1


@pytest.mark.parametrize(("distance", "pairs"), [(8, 2), (32, 2), (64, 4), (128, 8), (512, 32), (528, 32), (1000, 32)])
def test_recall_asks_for_each_key_once(distance, pairs):
    batch = make_recall(40, distance, generator())
    assert batch.inputs.shape == (40, distance)
    assert (batch.asked.sum(dim=1) == pairs).all()
    for row in range(40):
        told = batch.inputs[row, : 2 * pairs].view(pairs, 2).tolist()
        values = {key: value - 1 - KEYS for key, value in told}
        assert len(values) == pairs
        where = batch.asked[row].nonzero().flatten().tolist()
        assert sorted(batch.inputs[row, where].tolist()) == sorted(values)
        assert [values[key] for key in batch.inputs[row, where].tolist()] == batch.targets[row, where].tolist()


@pytest.mark.parametrize(("distance", "pairs"), [(16, 2), (64, 4), (128, 8), (256, 16)])
def test_mqar_is_that_of_its_paper(distance, pairs):
    """Against what the paper's description says of every row: half a vocabulary each, and queries at even gaps."""
    batch = make_mqar(60, distance, generator())
    half = MQAR_VOCABULARY // 2
    assert batch.inputs.shape == (60, distance)
    told, rest = batch.inputs[:, : 2 * pairs].view(60, pairs, 2), batch.inputs[:, 2 * pairs :]
    keys, values = told.unbind(-1)
    assert keys.min() >= 1
    assert keys.max() < half <= values.min()
    assert values.max() < MQAR_VOCABULARY
    for row in range(60):
        answers = dict(told[row].tolist())
        assert len(answers) == len(set(answers.values())) == pairs  # no key twice, and no value
        where = rest[row].nonzero().flatten()
        assert (where % 2 == 0).all()
        assert sorted(rest[row][where].tolist()) == sorted(answers)
        asked = batch.asked[row].nonzero().flatten()
        assert torch.equal(asked, where + 2 * pairs)
        assert [answers[key] for key in rest[row][where].tolist()] == (batch.targets[row][asked] + half).tolist()


def test_mqar_asks_soon_by_the_power_law_of_its_paper():
    """With two pairs in 16 tokens: the shares of six places, drawn twice without putting back, by hand."""
    batch = make_mqar(40_000, 16, generator())
    found = batch.asked[:, 4::2].float().mean(dim=0)
    odds = [k**-0.99 for k in range(1, 7)]
    total = sum(odds)
    shares = [
        p / total + sum(q / total * p / (total - q) for j, q in enumerate(odds) if j != i) for i, p in enumerate(odds)
    ]
    assert found.tolist() == pytest.approx(shares, abs=0.01)


def test_parity_counts_the_ones_so_far():
    batch = make_parity(20, 11, generator())
    bits = batch.inputs[0].tolist()
    assert batch.targets[0].tolist() == [sum(bits[: step + 1]) % 2 for step in range(11)]
    assert batch.asked.all()


class Reader(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.embedding = nn.Embedding(task.vocab_size, 24)
        self.recurrence = nn.GRU(24, 24, batch_first=True)
        self.head = nn.Linear(24, task.num_outputs)

    def forward(self, inputs):
        return self.head(self.recurrence(self.embedding(inputs))[0])


def test_a_recurrent_net_learns_parity_and_the_same_run_gives_the_same_numbers():
    sizes = {"distances": [8, 12], "unseen_distances": [24], "steps": 200, "learning_rate": 0.01, "num_test": 200}
    results = measure_dependency(Reader, DEPENDENCY_TASKS["parity"], **sizes)
    assert [(entry["distance"], entry["trained"]) for entry in results] == [(8, True), (12, True), (24, False)]
    assert results[0]["accuracy"] > 0.95
    assert results[0]["parameters"] == sum(p.numel() for p in Reader(DEPENDENCY_TASKS["parity"]).parameters())
    assert (results[0]["steps"], results[0]["batch_size"], results[0]["learning_rate"]) == (200, 32, 0.01)
    again = measure_dependency(Reader, DEPENDENCY_TASKS["parity"], **{**sizes, "steps": 3})
    once_more = measure_dependency(Reader, DEPENDENCY_TASKS["parity"], **{**sizes, "steps": 3})
    assert [entry["accuracy"] for entry in again] == [entry["accuracy"] for entry in once_more]


def test_distances_without_room_are_refused():
    with pytest.raises(DependencyError, match="task copy: give some, each at least 8"):
        measure_dependency(Reader, DEPENDENCY_TASKS["copy"], [4])


@pytest.mark.parametrize(
    ("task", "distances", "unseen", "refused"),
    [
        ("copy", [8, 16], [16], 16),
        ("copy", [8, 16], [17, 9], None),
        ("adding", [100], [400, 105], 105),  # 105 to 115 numbers, where training has 100 to 110
        ("adding", [100], [95], 95),  # up to 104
        ("adding", [100], [90, 111], None),  # up to 99, and from 111 on
    ],
)
def test_an_unseen_distance_is_one_that_no_example_of_training_has(task, distances, unseen, refused):
    task = DEPENDENCY_TASKS[task]

    def lengths(distance):
        drawn = (torch.Generator().manual_seed(seed) for seed in range(200))
        return {task.make(1, distance, chance).inputs.shape[1] for chance in drawn}

    trained = set().union(*map(lengths, distances))
    assert [distance for distance in unseen if trained & lengths(distance)] == ([refused] if refused else [])
    if refused is None:
        check_distances(task, distances, unseen)
        return
    with pytest.raises(DependencyError, match=f"Unseen distance {refused} of the task {task.name}: training at"):
        check_distances(task, distances, unseen)


class Oracle(nn.Module):
    """Answers parity by counting, the bits at `wrong_at` wrongly, and notes what it was shown."""

    def __init__(self, wrong_at):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.wrong_at = wrong_at
        self.shown = {True: [], False: []}

    def forward(self, inputs):
        self.shown[self.training].append(inputs)
        answers = inputs.cumsum(dim=1) % 2
        answers[:, self.wrong_at] = 1 - answers[:, self.wrong_at]
        return nn.functional.one_hot(answers, 2).float() + self.weight


@pytest.mark.parametrize(("wrong_at", "accuracy"), [([0, 3, -2], 1.0), ([-1], 0.0)])
def test_parity_is_right_where_the_last_bit_is(wrong_at, accuracy):
    results = measure_dependency(lambda task: Oracle(wrong_at), DEPENDENCY_TASKS["parity"], [8, 16], [32], steps=2)
    assert [entry["accuracy"] for entry in results] == [accuracy] * 3


class Copier(nn.Module):
    """Knows the symbols of the copying task, but for those at the places that are left out."""

    def __init__(self, left_out):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.left_out = left_out

    def forward(self, inputs):
        symbols = inputs[:, :COPIED] - 2
        symbols[:, self.left_out] = (symbols[:, self.left_out] + 1) % SYMBOLS
        answers = torch.zeros_like(inputs)
        answers[:, -COPIED:] = symbols
        return nn.functional.one_hot(answers, SYMBOLS).float() + self.weight


@pytest.mark.parametrize(("left_out", "accuracy"), [([], 1.0), ([0, 4], 0.6), ([0, 1, 2, 3, 4], 0.0)])
def test_accuracy_is_the_share_of_symbols_that_are_right(left_out, accuracy):
    results = measure_dependency(
        lambda task: Copier(left_out), DEPENDENCY_TASKS["copy"], [8], [20], steps=1, num_test=10
    )
    assert [entry["accuracy"] for entry in results] == [pytest.approx(accuracy)] * 2


def test_training_goes_from_the_shortest_distance_to_all_and_the_test_sees_each_once():
    oracle = Oracle([])
    measure_dependency(
        lambda task: oracle, DEPENDENCY_TASKS["parity"], [16, 8, 12], [24], steps=120, batch_size=4, num_test=7, seed=2
    )
    lengths = [inputs.shape[1] for inputs in oracle.shown[True]]
    assert set(lengths[:20]) == {8}  # a third of the first half of the steps
    assert set(lengths[20:40]) == {8, 12}
    assert set(lengths[40:60]) == {8, 12, 16}
    assert set(lengths[60:]) == {8, 12, 16}
    assert {inputs.shape[0] for inputs in oracle.shown[True]} == {4}
    assert [tuple(inputs.shape) for inputs in oracle.shown[False]] == [(7, 8), (7, 12), (7, 16), (7, 24)]
    seen = {tuple(row) for inputs in oracle.shown[True] for row in inputs.tolist()}
    assert len(seen) > 300  # of 480; bits of 8 are few
    longest = [tuple(row) for row in oracle.shown[False][2].tolist()]
    assert not seen & set(longest)
