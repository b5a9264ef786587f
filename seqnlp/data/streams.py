"""
Running text as training data: contiguous streams for recurrent models, shuffled windows for Transformers, and the
segments by which a held-out text is scored whole.

A text is a ring of tokens in which every document begins with `<s>`. Every token but `<s>` is a label once an epoch:
that of the token before it, also where that one closes a window or, since a ring has no end, the ring itself.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise

import numpy as np
import torch
from datasets import IterableDataset
from torch.utils.data import Dataset, Sampler

from .caching import map_once
from .columns import join_lists
from .errors import DataError
from .text import check_text


IGNORE_INDEX = -100

Window = tuple[int, int]
"""First token of a window, and the one behind its last."""


def join_documents(
    documents: Iterable[Sequence[int]], bos_token_id: int, eos_token_id: int | None = None
) -> torch.Tensor:
    """One tensor of tokens, int32: `<s>` before each document and, if given, `</s>` behind it."""
    end = [] if eos_token_id is None else [eos_token_id]
    parts = (part for document in documents for part in ([bos_token_id], document, end))
    arrays = [np.asarray(part, dtype=np.int32) for part in parts]
    return torch.from_numpy(np.concatenate(arrays)) if arrays else torch.empty(0, dtype=torch.int32)


class TokenWindows(Dataset):
    """
    Windows of a ring of tokens, by `(start, stop)`; `stop` may lie beyond the ring's end.

    An example has `input_ids` and `labels`, the token after each, whichever window holds it; -100 stands where a
    document begins. With `separate`, it has `position_ids` too, which start anew with each document: by them
    transformers tells packed documents apart, and no token attends to another document.

    Args:
        tokens: `(num_tokens,)`, see [`join_documents`].
        bos_token_id: What a document begins with.
        separate: Whether to give `position_ids`.
    """

    def __init__(self, tokens: torch.Tensor, bos_token_id: int, separate: bool = False):
        self.tokens = tokens
        self.bos_token_id = bos_token_id
        self.separate = separate

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, window: Window) -> dict[str, torch.Tensor]:
        start, stop = window
        ring = self.tokens[torch.arange(start, stop + 1) % len(self.tokens)].long()
        inputs, labels = ring[:-1], ring[1:]
        example = {"input_ids": inputs, "labels": labels.masked_fill(labels == self.bos_token_id, IGNORE_INDEX)}
        if self.separate:
            places = torch.arange(len(inputs))
            begins = torch.where(inputs == self.bos_token_id, places, 0)
            example["position_ids"] = places - begins.cummax(0).values if len(inputs) else places
        return example


class LanguageModelCollator:
    """
    Pads examples on the right, where a causal model needs no mask: what stands before sees nothing of it.

    A batch has `input_ids`, `labels` and `shift_labels`, which are the same labels under the name by which a model
    takes them as they are (its own shift would lose each window's last), and `position_ids` where the examples have
    them.

    Args:
        pad_token_id: Fills `input_ids`.
    """

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, examples: list[dict]) -> dict[str, torch.Tensor]:
        width = max(1, *(len(example["input_ids"]) for example in examples))
        batch = {
            "input_ids": self._stack(examples, "input_ids", width, self.pad_token_id),
            "labels": self._stack(examples, "labels", width, IGNORE_INDEX),
        }
        batch["shift_labels"] = batch["labels"]
        if "position_ids" in examples[0]:
            batch["position_ids"] = self._stack(examples, "position_ids", width, 0)
        return batch

    @staticmethod
    def _stack(examples: list[dict], name: str, width: int, fill: int) -> torch.Tensor:
        stacked = torch.full((len(examples), width), fill)
        for row, example in zip(stacked, examples, strict=True):
            row[: len(example[name])] = torch.as_tensor(example[name])
        return stacked


class _WindowSampler(Sampler[list[Window]]):
    """What both samplers share: epochs, going on within one, and a ring that is cut elsewhere in each epoch."""

    def __init__(self, num_tokens: int, window: int, batch_size: int, seed: int, shift: bool):
        self.num_tokens = num_tokens
        self.window = window
        self.batch_size = batch_size
        self.seed = seed
        self.shift = shift
        self.epoch = 0
        self._skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the windows of this epoch."""
        self.epoch = epoch

    def skip_once(self, batches: int) -> None:
        """Begin the next pass, and only that one, after this number of batches: where an interrupted epoch goes on."""
        self._skip = batches

    def __iter__(self) -> Iterator[list[Window]]:
        skip, self._skip = self._skip, 0
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        offset = int(torch.randint(self.num_tokens, (), generator=generator)) if self.shift else 0
        yield from self._batches(offset, generator)[skip:]


class StreamBatchSampler(_WindowSampler):
    """
    Contiguous streams for truncated backpropagation through time (Williams & Peng 1990; Mikolov et al. 2010).

    The ring is cut into `batch_size * num_processes` rows of equal length, or one less, and each row into windows,
    which follow one another from batch to batch, so that a row's state can be carried on. The batches of the processes
    come in
    turn: batch `i` is of process `i mod num_processes`, which so has the same rows throughout. All windows of an epoch
    have the same length, or one less: no short one is left over at the end.

    Args:
        num_tokens: Tokens in the ring.
        window: Tokens of a window at most: the gradient flows back through as many.
        batch_size: Rows of a process.
        num_processes: Number of processes.
        seed: Fixes where the ring is cut.
        shift: Whether each epoch cuts it elsewhere, so that windows do not end at the same tokens again.
        allow_empty_rows: Whether there may be fewer tokens than rows.

    Raises:
        DataError: If there are too few tokens for the rows.
    """

    def __init__(
        self,
        num_tokens: int,
        window: int,
        batch_size: int,
        num_processes: int = 1,
        seed: int = 0,
        shift: bool = True,
        allow_empty_rows: bool = False,
    ):
        super().__init__(num_tokens, window, batch_size, seed, shift)
        self.num_processes = num_processes
        num_rows = batch_size * num_processes
        if num_tokens < 2 * num_rows and not allow_empty_rows:
            raise DataError(
                f"The training text has {num_tokens} tokens, too few for {num_rows} rows of a batch: lower "
                f"--per_device_train_batch_size {batch_size}, or give more text."
            )
        self.borders = [row * num_tokens // num_rows for row in range(num_rows + 1)]
        self.num_windows = math.ceil(math.ceil(num_tokens / num_rows) / window)

    def __len__(self) -> int:
        return self.num_windows * self.num_processes

    def _batches(self, offset: int, generator: torch.Generator) -> list[list[Window]]:
        rows = []
        for start, stop in pairwise(self.borders):
            length = stop - start
            cuts = [offset + start + index * length // self.num_windows for index in range(self.num_windows + 1)]
            rows.append(list(pairwise(cuts)))
        return [
            [row[index] for row in rows[first : first + self.batch_size]]
            for index in range(self.num_windows)
            for first in range(0, len(rows), self.batch_size)
        ]


class WindowBatchSampler(_WindowSampler):
    """
    Windows in random order, for models whose context ends with the window.

    The ring is cut, elsewhere in each epoch, into windows of the same length or one less.

    Args:
        num_tokens: Tokens in the ring.
        window: Tokens of a window at most.
        batch_size: Windows in a batch; the last may have fewer.
        seed: Fixes the order and where the ring is cut.
        shift: Whether each epoch cuts it elsewhere.
    """

    def __init__(self, num_tokens: int, window: int, batch_size: int, seed: int = 0, shift: bool = True):
        super().__init__(num_tokens, window, batch_size, seed, shift)
        self.num_windows = math.ceil(num_tokens / window)

    def __len__(self) -> int:
        return math.ceil(self.num_windows / self.batch_size)

    def _batches(self, offset: int, generator: torch.Generator) -> list[list[Window]]:
        cuts = [offset + index * self.num_tokens // self.num_windows for index in range(self.num_windows + 1)]
        windows = list(pairwise(cuts))
        order = torch.randperm(self.num_windows, generator=generator).tolist()
        return [
            [windows[index] for index in order[first : first + self.batch_size]]
            for first in range(0, self.num_windows, self.batch_size)
        ]


def stream_windows(
    documents: IterableDataset,
    encode: Callable[[list[str]], Sequence[Sequence[int]]],
    bos_token_id: int,
    window: int,
    batch_size: int,
    num_processes: int = 1,
    separate: bool = False,
    documents_at_once: int = 1000,
) -> IterableDataset:
    """
    Windows of a streamed corpus, tokenized as they are needed, in the order of a [`StreamBatchSampler`].

    `documents_at_once` documents at a time are joined and laid out as `batch_size` rows of windows: consecutive
    `batch_size` examples make a batch, and row `i` of a batch goes on where row `i` of the one before ended, until the
    next documents come. No token is lost or repeated, and as a mapped `IterableDataset` it can be split among
    processes and resumed.

    Args:
        documents: Rows with the column `text`.
        encode: From texts to token ids, without `<s>`, as [`seqnlp.tokenization.encode_documents`] gives them.
        bos_token_id: Put before each document.
        window: Tokens of a window at most.
        batch_size: Rows of a process.
        num_processes: Number of processes among which `datasets.distributed.split_dataset_by_node` will split the
            windows: by shards if their number can be divided by it, else one window after the other, which are then
            laid out so that each process gets its own rows.
        separate: Whether to give `position_ids`, see [`TokenWindows`].
        documents_at_once: Documents that are joined.
    """

    sharers = 1 if documents.num_shards % num_processes == 0 else num_processes

    def cut(batch: dict[str, list]) -> dict[str, list]:
        texts = [text for text in batch["text"] if text]
        for text in texts:
            check_text(text, "The streamed text")
        tokens = join_documents(encode(texts), bos_token_id) if texts else join_documents([[]], bos_token_id)
        windows = TokenWindows(tokens, bos_token_id, separate)
        batches = StreamBatchSampler(len(tokens), window, batch_size, sharers, shift=False, allow_empty_rows=True)
        in_turn = (zip(*dealt, strict=True) for dealt in _grouped(batches, sharers))
        examples = [windows[place] for turns in in_turn for places in turns for place in places]
        return {name: [example[name].tolist() for example in examples] for name in examples[0]}

    return documents.map(cut, batched=True, batch_size=documents_at_once, remove_columns=documents.column_names)


def _grouped(items: Iterable, size: int) -> Iterator[list]:
    items = iter(items)
    while group := list(islice(items, size)):
        yield group


def training_windows(
    train: Dataset | IterableDataset,
    encode: Callable[[list[str]], Sequence[Sequence[int]]],
    bos_token_id: int,
    window: int,
    batch_size: int,
    num_processes: int,
    seed: int,
    carries_state: bool,
) -> tuple[TokenWindows | IterableDataset, StreamBatchSampler | WindowBatchSampler | None]:
    """
    What a training loop reads of a text: the batcher that fits the model.

    Args:
        train: Rows with the column `text`; if they are streamed, see [`stream_windows`].
        encode: From texts to token ids, without `<s>`, as [`seqnlp.tokenization.encode_documents`] gives them.
        bos_token_id: Put before each document.
        window: Tokens of a window at most.
        batch_size: Rows of a process.
        num_processes: Number of processes.
        seed: Fixes the order.
        carries_state: Contiguous streams for a recurrent model; else windows in random order, whose documents do not
            see each other.

    Returns:
        The dataset, and its batch sampler; streamed windows have none.
    """
    if isinstance(train, IterableDataset):
        return stream_windows(
            train, encode, bos_token_id, window, batch_size, num_processes, separate=not carries_state
        ), None
    encoded = map_once(train, lambda rows: {"ids": encode(rows["text"])}, remove_columns=train.column_names)
    tokens = torch.from_numpy(join_lists(encoded, "ids", bos_token_id))
    windows = TokenWindows(tokens, bos_token_id, separate=not carries_state)
    if carries_state:
        return windows, StreamBatchSampler(len(tokens), window, batch_size, num_processes, seed)
    return windows, WindowBatchSampler(len(tokens), window, batch_size, seed)


class HeldOutSegments(Dataset):
    """
    Held-out documents in segments, by which every token but `<s>` is scored exactly once.

    A segment scores `stride` tokens and reads up to `context` tokens before them, which carry no label. For a
    Transformer that is a strided evaluation (window = context + stride); for a recurrent net the context fills the
    state, which is then carried through the segment. A document that fits into `context + stride` is one segment, and
    nothing is read of another document.

    Args:
        documents: Token ids of each document, without `<s>`.
        bos_token_id: Put before each document.
        eos_token_id: Put behind each document and scored, if given.
        stride: Tokens that a segment scores.
        context: Tokens that it reads before them, at most.
    """

    def __init__(
        self,
        documents: Iterable[Sequence[int]],
        bos_token_id: int,
        eos_token_id: int | None = None,
        stride: int = 4096,
        context: int = 512,
    ):
        self.examples = []
        for document in documents:
            tokens = join_documents([document], bos_token_id, eos_token_id).long()
            scored = 0  # tokens of this document that have been labels so far; token k + 1 is the label of token k
            while scored < len(tokens) - 1:
                begin = max(0, scored - context)
                stop = min(len(tokens) - 1, begin + context + stride)
                labels = tokens[begin + 1 : stop + 1].clone()
                labels[: scored - begin] = IGNORE_INDEX
                self.examples.append({"input_ids": tokens[begin:stop], "labels": labels})
                scored = stop
        if not self.examples:
            raise DataError("The held-out text has no tokens to score.")

    @property
    def num_targets(self) -> int:
        """Tokens that are scored."""
        return sum(int((example["labels"] != IGNORE_INDEX).sum()) for example in self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.examples[index]
