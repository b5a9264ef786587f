"""No token is lost or repeated, a carried state is one long pass, and packed documents do not see each other."""

from itertools import pairwise

import pytest
import torch
from datasets import Dataset
from datasets.distributed import split_dataset_by_node

from seqnlp import RecurrentConfig, RecurrentForCausalLM, TransformerDecoderConfig, TransformerDecoderForCausalLM
from seqnlp.data import (
    DataError,
    HeldOutSegments,
    LanguageModelCollator,
    StreamBatchSampler,
    TokenWindows,
    WindowBatchSampler,
    join_documents,
    stream_windows,
    training_windows,
)
from seqnlp.metrics import nats_of_rows


BOS, EOS = 1, 2
SMALL = {"vocab_size": 300, "hidden_size": 16, "pad_token_id": 0}


def ring(num_tokens=101):
    """A document whose every token is another."""
    return join_documents([range(10, 10 + num_tokens - 1)], BOS)


def pairs(windows, batches):
    """(token, label) of every label that counts."""
    examples = [windows[place] for batch in batches for place in batch]
    found = [
        (int(token), int(label))
        for example in examples
        for token, label in zip(example["input_ids"], example["labels"], strict=True)
    ]
    return [pair for pair in found if pair[1] != -100]


def all_pairs(tokens):
    return [
        pair for pair in zip(tokens.tolist(), [*tokens.tolist()[1:], tokens[0].item()], strict=True) if pair[1] != BOS
    ]


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize(("num_tokens", "window"), [(101, 7), (96, 8), (17, 5), (64, 100)])
@pytest.mark.parametrize("epoch", [0, 1])
def test_no_token_is_lost_or_repeated(num_processes, num_tokens, window, epoch):
    tokens = ring(num_tokens)
    windows = TokenWindows(tokens, BOS)
    streams = StreamBatchSampler(num_tokens, window, 4, num_processes, seed=3)
    shuffled = WindowBatchSampler(num_tokens, window, 4, seed=3)
    for sampler in (streams, shuffled):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        assert sorted(pairs(windows, batches)) == sorted(all_pairs(tokens))
        assert max(stop - start for batch in batches for start, stop in batch) <= window
        sampler.skip_once(2)
        assert list(sampler) == batches[2:]
        assert list(sampler) == batches
    assert len(streams) % num_processes == 0
    lengths = {stop - start for batch in streams for start, stop in batch}
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("num_processes", [1, 2])
def test_each_row_goes_on_where_it_ended(num_processes):
    sampler = StreamBatchSampler(101, 7, 3, num_processes)
    for process in range(num_processes):
        own = list(sampler)[process::num_processes]
        for before, after in pairwise(own):
            assert [stop for _, stop in before] == [start for start, _ in after]


def test_epochs_cut_elsewhere_and_seeds_differ():
    starts = set()
    for seed in (0, 1):
        sampler = StreamBatchSampler(101, 7, 3, seed=seed)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            starts.add(next(iter(sampler))[0])
    assert len(starts) > 3


def test_too_little_text():
    with pytest.raises(DataError, match=r"has 9 tokens, too few for 8 rows.*--per_device_train_batch_size 4"):
        StreamBatchSampler(9, 7, 4, num_processes=2)


@pytest.mark.parametrize("cell_type", ["elman", "gru", "lstm"])
def test_carried_state_is_one_long_pass(cell_type):
    torch.manual_seed(0)
    tokens = ring()
    model = RecurrentForCausalLM(RecurrentConfig(cell_type=cell_type, num_hidden_layers=2, **SMALL)).eval()
    windows, collator, sampler = TokenWindows(tokens, BOS), LanguageModelCollator(0), StreamBatchSampler(101, 9, 3)
    state, logits = None, []
    with torch.no_grad():
        batches = list(sampler)
        for batch in batches:
            inputs = collator([windows[place] for place in batch])
            outputs = model(input_ids=inputs["input_ids"], cache=state, use_cache=True)
            state = outputs.cache.detach_()
            logits.append([row[: stop - start] for row, (start, stop) in zip(outputs.logits, batch, strict=True)])
        for index in range(3):
            # All but the last window of a row: there a padded column may stand.
            pieces = [window[index] for window in logits]
            start, stop = batches[0][index][0], batches[-1][index][1]
            whole = model(input_ids=tokens[torch.arange(start, stop) % 101][None]).logits[0]
            lengths = {end - begin for batch in batches for begin, end in batch}
            if len(lengths) == 1:
                torch.testing.assert_close(torch.cat(pieces), whole)
            else:
                torch.testing.assert_close(pieces[0], whole[: len(pieces[0])])


def test_packed_documents_do_not_see_each_other():
    torch.manual_seed(0)
    documents = [[11, 12, 13, 14], [21, 22], [31, 32, 33, 34, 35]]
    model = TransformerDecoderForCausalLM(
        TransformerDecoderConfig(num_attention_heads=2, num_hidden_layers=2, use_cache=False, **SMALL)
    )
    windows = TokenWindows(join_documents(documents, BOS), BOS, separate=True)
    batch = LanguageModelCollator(0)([windows[0, len(windows)]])
    assert batch["position_ids"].tolist() == [[*range(5), *range(3), *range(6)]]
    packed = model(**batch)
    apart = [model(input_ids=torch.tensor([[BOS, *document]])).logits[0] for document in documents]
    torch.testing.assert_close(packed.logits[0], torch.cat(apart))
    labels = [*documents[0], -100, *documents[1], -100, *documents[2], -100]
    assert batch["labels"].tolist() == [labels]
    torch.testing.assert_close(
        packed.loss, torch.nn.functional.cross_entropy(torch.cat(apart), torch.tensor(labels), ignore_index=-100)
    )


def test_a_window_within_a_document_counts_from_its_own_start():
    windows = TokenWindows(join_documents([[11, 12, 13], [21, 22]], BOS), BOS, separate=True)
    assert windows[2, 6]["position_ids"].tolist() == [0, 1, 0, 1]
    assert windows[5, 9]["position_ids"].tolist() == [0, 1, 0, 1]  # over the end of the ring


@pytest.mark.parametrize("stride", [3, 50])
@pytest.mark.parametrize("context", [0, 4])
def test_held_out_tokens_are_scored_once(stride, context):
    documents = [list(range(10, 40)), list(range(50, 55)), []]
    segments = HeldOutSegments(documents, BOS, EOS, stride, context)
    expected = [(token, label) for text in documents for token, label in zip([BOS, *text], [*text, EOS], strict=True)]
    found = []
    for index in range(len(segments)):
        example = segments[index]
        assert len(example["input_ids"]) <= stride + context
        for token, label in zip(example["input_ids"].tolist(), example["labels"].tolist(), strict=True):
            found += [(token, label)] if label != -100 else []
    assert found == expected
    assert segments.num_targets == len(expected)


def test_the_nats_of_a_held_out_text_do_not_depend_on_how_it_is_read():
    torch.manual_seed(0)
    document = list(range(10, 110))
    model = RecurrentForCausalLM(RecurrentConfig(**SMALL)).eval()
    collator = LanguageModelCollator(0)
    whole = HeldOutSegments([document], BOS, stride=1000, context=0)
    ((expected,),) = nats_of_rows(model, collator([whole[0]]))
    ((found,),) = nats_of_rows(model, collator([whole[0]]), window=7)
    assert found == pytest.approx(expected)
    # Enough context, and the segments add up to one pass; the second row is padding only where it has ended.
    parts = HeldOutSegments([document], BOS, stride=60, context=60)
    found = sum(part.nats for row in nats_of_rows(model, collator(list(parts)), window=16) for part in row)
    assert found == pytest.approx(expected.nats, rel=1e-3)


def words_to_ids(texts):
    return [[int(word) for word in text.split()] for text in texts]


@pytest.mark.parametrize(("num_processes", "num_shards"), [(1, 1), (2, 1), (2, 2)])
def test_streamed_text_is_read_whole_in_rows_that_go_on(num_processes, num_shards):
    texts = [" ".join(str(100 * number + place + 10) for place in range(number % 7 + 3)) for number in range(23)]
    stream = Dataset.from_dict({"text": texts}).to_iterable_dataset(num_shards=num_shards)
    windows = stream_windows(stream, words_to_ids, BOS, 5, 3, num_processes, documents_at_once=6)
    labels = []
    for process in range(num_processes):
        examples = list(split_dataset_by_node(windows, process, num_processes) if num_processes > 1 else windows)
        assert len(examples) % 3 == 0
        labels += [label for example in examples for label in example["labels"] if label != -100]
        follow = [
            example["labels"][-1] == after["input_ids"][0]
            for example, after in zip(examples, examples[3:], strict=False)
            if example["labels"] and example["labels"][-1] != -100 and after["input_ids"]
        ]
        assert sum(follow) > len(follow) / 2  # all but where the next documents come
    assert sorted(labels) == sorted(int(word) for text in texts for word in text.split())


def test_a_stream_of_windows_resumes():
    texts = [" ".join(str(100 * number + place + 10) for place in range(number % 7 + 3)) for number in range(23)]
    stream = Dataset.from_dict({"text": texts}).to_iterable_dataset()
    windows = stream_windows(stream, words_to_ids, BOS, 5, 3, documents_at_once=6)
    iterator = iter(windows)
    for _ in range(17):
        next(iterator)
    state = windows.state_dict()
    rest = list(iterator)
    assert rest
    windows.load_state_dict(state)
    assert list(windows) == rest


def test_training_windows_follow_the_model():
    rows = Dataset.from_dict({"text": ["abc", "defg"]})

    def encode(texts):
        return [[ord(letter) for letter in text] for text in texts]

    streams, sampler = training_windows(rows, encode, BOS, 2, 2, 1, seed=0, carries_state=True)
    assert isinstance(sampler, StreamBatchSampler)
    assert set(streams[0, 3]) == {"input_ids", "labels"}
    packed, sampler = training_windows(rows, encode, BOS, 2, 2, 1, seed=0, carries_state=False)
    assert isinstance(sampler, WindowBatchSampler)
    assert packed[0, 6]["position_ids"].tolist() == [0, 1, 2, 3, 0, 1]
    streamed, sampler = training_windows(rows.to_iterable_dataset(), encode, BOS, 2, 2, 1, seed=0, carries_state=True)
    assert sampler is None
    assert next(iter(streamed))["input_ids"][0] == BOS
