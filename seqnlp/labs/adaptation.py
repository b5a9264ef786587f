"""Checks of lab 9: low-rank adaptation (LoRA), its size, and learning from a teacher."""

import torch
from torch.nn import functional

from .checking import Wrong, call, exercise, gradient_reaches, randn, same, tensor, with_gradients


def _matrices():
    """A weight `(5, 5)` with `A`, `(2, 5)`, and `B`, `(5, 2)`: square, so that a missing transpose is no error."""
    return randn(5, 5, seed=1), randn(2, 5, seed=2), randn(5, 2, seed=3)


@exercise
def lora(answer):
    """`lora(x, W, A, B, alpha)`: a linear map with a low-rank change (Hu et al. 2021, section 4.1)."""
    x, (W, A, B), alpha = randn(3, 5), _matrices(), 8.0
    leaves = with_gradients(A=A, B=B)
    got = tensor(call(answer, x, W, leaves["A"], leaves["B"], alpha), "the output")
    change = x @ A.T @ B.T
    same(
        got,
        x @ W.T + 4 * change,
        {
            "the change is not scaled: alpha / rank is missing.": x @ W.T + change,
            "the change is scaled by alpha alone: the rank is missing.": x @ W.T + 8 * change,
            "the rank and alpha are swapped.": x @ W.T + change / 4,
            "the frozen map W is missing.": 4 * change,
            "the change is missing.": x @ W.T,
            "W is turned: each of its rows makes one number.": x @ W + 4 * change,
            "the change is taken off; it is to be added.": x @ W.T - 4 * change,
            "the whole is scaled: only the change is to be.": 4 * (x @ W.T + change),
            "the change is turned.": x @ W.T + 4 * x @ B @ A,
        },
        "the output",
    )
    gradient_reaches(got, leaves)


@exercise
def merge(answer):
    """`merge(W, A, B, alpha)`: one matrix that does what W and the change do together."""
    W, A, B = _matrices()
    same(
        call(answer, W, A, B, 8.0),
        W + 4 * B @ A,
        {
            "the change is turned.": W + 4 * (B @ A).T,
            "the change is not scaled: alpha / rank is missing.": W + B @ A,
            "the change is scaled by alpha alone: the rank is missing.": W + 8 * B @ A,
            "that is the change alone: W is missing.": 4 * B @ A,
            "nothing is changed.": W,
            "A and B are multiplied in the wrong order.": (W + 4 * A @ B if A.shape[0] == W.shape[0] else None),
        },
        "the matrix",
    )


@exercise
def lora_parameters(answer):
    """`lora_parameters(inputs, outputs, rank)`: the numbers that LoRA trains for one matrix."""
    for inputs, outputs, rank in ((10, 30, 4), (64, 64, 1)):
        same(
            call(answer, inputs, outputs, rank),
            torch.tensor(rank * (inputs + outputs)),
            {
                "that is the whole matrix, which is frozen.": torch.tensor(inputs * outputs),
                "the frozen matrix is counted too: only what is trained counts.": torch.tensor(
                    inputs * outputs + rank * (inputs + outputs)
                ),
                "only A is counted.": torch.tensor(rank * inputs),
                "only B is counted.": torch.tensor(rank * outputs),
                "A and B are multiplied; their sizes add up.": torch.tensor(rank * inputs * outputs),
                "the two sizes are multiplied; each matrix counts by itself.": torch.tensor(
                    rank * rank * inputs * outputs
                ),
            },
            "the count",
        )


@exercise
def distillation_loss(answer):
    """`distillation_loss(student, teacher, temperature)`: how far the student's choice is from the teacher's."""
    student, teacher, temperature = 2 * randn(4, 6), 2 * randn(4, 6, seed=1), 2.0
    leaves = [student.clone().requires_grad_(), teacher.clone().requires_grad_()]
    got = tensor(call(answer, *leaves, temperature), "the loss")

    def divergence(of, to, hot_of=temperature, hot_to=temperature, reduction="batchmean"):
        of, to = (of / hot_of).log_softmax(-1), (to / hot_to).log_softmax(-1)
        return functional.kl_div(of, to, log_target=True, reduction=reduction)

    right = temperature**2 * divergence(student, teacher)
    cross = -((teacher / temperature).softmax(-1) * (student / temperature).log_softmax(-1)).sum(-1).mean()
    same(
        got,
        right,
        {
            "the temperature's square is missing in front: hot gradients would be too small.": right / temperature**2,
            "the temperature stands in front without its square.": right / temperature,
            "student and teacher are swapped: it is the teacher's choice that weighs.": temperature**2
            * divergence(teacher, student),
            "the temperature is not used.": divergence(student, teacher, 1.0, 1.0),
            "the temperature is not used inside.": temperature**2 * divergence(student, teacher, 1.0, 1.0),
            "the temperature is used for the student only.": temperature**2 * divergence(student, teacher, hot_to=1.0),
            "the temperature is used for the teacher only.": temperature**2 * divergence(student, teacher, hot_of=1.0),
            "that is the cross-entropy: a student like its teacher is to have a loss of zero.": temperature**2 * cross,
            "that is the sum over the examples: the mean is asked for.": right * len(student),
            "the mean is taken over the characters too; they are to be summed.": right / student.shape[1],
            "the logits are compared, not the probabilities.": (student - teacher).square().mean(),
            "the sign is wrong.": -right,
        },
        "the loss",
    )
    gradient_reaches(got, {"the student": leaves[0]})
    if (
        got.requires_grad
        and torch.autograd.grad(call(answer, *leaves, temperature), leaves[1], allow_unused=True)[0] is not None
    ):
        raise Wrong("the numbers are right, but a gradient reaches the teacher: it is not to learn.")
