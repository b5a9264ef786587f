"""Flags of one small run per recipe, for tests that start many of them."""

from shlex import split as words_of


def files(folder, suffix, flag="file"):
    return [
        word
        for split in ("train", "validation", "test")
        for word in (f"--{split}_{flag}", folder / f"{split}.{suffix}")
    ]


def sentiment_analysis(reviews, lines):
    size = words_of("--config_overrides hidden_size=32 --per_device_train_batch_size 2")
    return ["--dataset_name", reviews, *size]


def language_modeling(reviews, lines):
    """The state is carried from window to window."""
    size = words_of(
        "--config_overrides hidden_size=32,embedding_size=8 --max_length 8 --per_device_train_batch_size 2"
    )
    return [*files(lines, "txt"), "--tokenizer_type", "char", *size]


def language_modeling_streamed(reviews, lines):
    size = words_of(
        "--config_overrides hidden_size=32 --architecture gru --max_length 8 --per_device_train_batch_size 2"
    )
    size += words_of("--tokenizer_type char --streaming --eval_steps 60 --max_eval_samples 9")
    return ["--train_file", lines / "train.jsonl", *size]


def tagging(reviews, lines):
    size = words_of("--config_overrides hidden_size=32,embedding_size=8 --per_device_train_batch_size 4")
    return [*files(lines, "conll"), *size]


def music_generation(reviews, lines):
    size = words_of(
        "--config_overrides hidden_size=32,embedding_size=8 --max_length 80 --per_device_train_batch_size 2"
    )
    return [*files(lines, "abc"), *size, "--num_tunes", 2, "--num_files", 0]


def masked_language_modeling(reviews, lines):
    size = words_of("--config_overrides hidden_size=32,num_hidden_layers=1,num_attention_heads=2 --max_length 16")
    return [*files(lines, "txt"), "--tokenizer_type", "word", *size, "--per_device_train_batch_size", 4]


def translation(reviews, lines):
    """Batches of so many tokens, BPE dropout, and the weights of several checkpoints averaged."""
    size = words_of("--config_overrides hidden_size=32,intermediate_size=64,num_hidden_layers=1 --vocab_size 300")
    size += words_of("--max_tokens 48 --min_frequency 1 --bleu_every 5 --num_beams 2")
    size += words_of("--bpe_dropout 0.1 --average_checkpoints 3")
    return [*files(lines, "en"), *files(lines, "de", "target_file"), *size]


def image_classification(reviews, lines):
    size = words_of("--config_overrides hidden_size=32,num_hidden_layers=1 --per_device_train_batch_size 4")
    return [*size, "--max_train_samples", 200, "--max_eval_samples", 40]


def trajectory(reviews, lines):
    size = words_of("--config_overrides hidden_size=32 --per_device_train_batch_size 4 --num_trajectories 120")
    return [*size, "--context_length", 12, "--prediction_length", 5]


CASES = [
    sentiment_analysis,
    language_modeling,
    language_modeling_streamed,
    tagging,
    music_generation,
    masked_language_modeling,
    translation,
    image_classification,
    trajectory,
]
