"""Music: tunes in ABC notation, character by character, to read, to hear and to see.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/music_generation.py --metre 6/8 --key G

Data: 4,163 fiddle tunes that music21 carries (`sample:music21`, docs/data.md), or ABC files of yours (--train_file).
Model: an LSTM; or --architecture elman, gru, transformer. It reads whole tunes: metre, unit, key, notes, title.
Expect 62 to 67 of 100 tunes valid (of the training tunes: 85) after four minutes on two CPU cores.
"""

from dataclasses import dataclass, field
from functools import partial

from seqnlp import RecurrentForCausalLM, TransformerDecoderForCausalLM, data, training
from seqnlp.metrics import language_modeling_scores, nats_of_rows
from seqnlp.metrics.tune_validity import check_tune, copied_share, valid_share
from seqnlp.publishing import push_to_hub
from seqnlp.tokenization import encode_documents, train_tokenizer
from seqnlp.visualization import plot_learning_curves
from seqnlp.visualization.music import save_tune


# This recipe's defaults; --config_overrides changes any of them.
RECURRENT = {"hidden_size": 384, "embedding_size": 64, "head_dropout": 0.2}
TRANSFORMER = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4, "dropout": 0.1}


@dataclass
class MusicArguments(data.TuneArguments):
    key: str | None = field(default=None, metadata={"help": "Key of the tunes to write, e.g. D, Emin, Ador."})
    metre: str | None = field(
        default=None, metadata={"help": "Their metre, e.g. 6/8; drawn by the model if not given."}
    )
    num_tunes: int = field(default=100, metadata={"help": "Tunes to write; their valid share is reported."})
    num_files: int = field(default=3, metadata={"help": "Tunes kept as .abc, .mid, .wav and .png."})
    temperature: float = field(default=0.8, metadata={"help": "Below 1, tunes keep to what is likely."})


@dataclass
class MusicModelArguments(training.ModelArguments):
    tokenizer_type: str = field(default="char", metadata={"help": "char, or a kind of subwords."})
    vocab_size: int = 1000
    min_frequency: int = 1
    lowercase: bool = False
    max_length: int = field(default=800, metadata={"help": "Tokens of a tune that are read or written at most."})


@dataclass
class MusicTrainingArguments(training.TrainingArguments):
    num_train_epochs: float = 5.0
    per_device_train_batch_size: int = 16
    per_device_eval_batch_size: int = 50
    learning_rate: float = 3e-3


def main() -> None:
    classes = MusicArguments, MusicModelArguments, MusicTrainingArguments
    data_args, model_args, args = training.parse_arguments(*classes, recipe="music_generation", description=__doc__)
    if data_args.dataset_name is None and data_args.train_file is None:
        data_args.dataset_name = "sample:music21"
    data.prompt_for(data_args.key, data_args.metre)  # before anything is read, or it stops here
    run = training.start_run("music_generation", model_args.architecture, args, data_args, model_args)
    accelerator = run.accelerator

    # Data: tunes in one form, in the column `text`. The tokenizer is trained on training tunes alone.
    with accelerator.main_process_first():
        loaded = data.load_tunes(data_args)
    splits = loaded.splits
    texts = data.with_transpositions(splits["train"], data_args.transpositions)
    prompt = data.prompt_for(data_args.key, data_args.metre, texts)
    run.record.dataset = {**loaded.describe(), "training_tunes": len(texts)}
    kind = {name: getattr(model_args, name) for name in ("tokenizer_type", "vocab_size", "lowercase", "min_frequency")}
    tokenizer = run.on_main_process(lambda: train_tokenizer(texts, **kind))
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id

    encode = partial(encode_documents, tokenizer)

    if model_args.architecture == "transformer":
        model_class, fields, read_at_once = TransformerDecoderForCausalLM, {**TRANSFORMER, "use_cache": False}, None
    else:
        model_class, fields = RecurrentForCausalLM, {**RECURRENT, "cell_type": model_args.architecture}
        read_at_once = 256
    fields |= {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": begin, "eos_token_id": end}
    config_class, overrides = model_class.config_class, model_args.config_overrides
    config = training.build_config(config_class, overrides, vocab_size=len(tokenizer), **fields)

    # A tune is a row, from <s> to </s>, whose characters and </s> are predicted.
    whole = {"stride": model_args.max_length, "context": 0}
    rows = {**{split: part["text"] for split, part in splits.items()}, "train": texts}
    tunes = {split: data.HeldOutSegments(encode(part), begin, end, **whole) for split, part in rows.items()}
    lengths = [len(tune["input_ids"]) for tune in tunes["train"]]

    def scores(loop: training.TrainingLoop, split: str) -> dict[str, float]:
        nats = loop.evaluate_rows(tunes[split], partial(nats_of_rows, window=read_at_once))
        found = language_modeling_scores(nats, tunes[split].num_targets, **data.count_text(splits[split]))
        return {name: found[name] for name in ("loss", "bits_per_character")}

    loop = training.TrainingLoop(
        run,
        args,
        model_class(config),
        tunes["train"],
        data.LengthGroupedBatchSampler(lengths, args.per_device_train_batch_size, args.seed),
        data.LanguageModelCollator(tokenizer.pad_token_id),
        evaluate=lambda loop: scores(loop, "validation"),
    )
    loop.train()

    # Choose by validation only; the test split is looked at here, once, when training has come to its end.
    report = "test" if "test" in splits and not run.record.stopped else "validation"
    run.record.metrics = {split: scores(loop, split) for split in dict.fromkeys(("validation", report))}
    model = accelerator.unwrap_model(loop.model)
    model.config.use_cache = True

    written = training.write_texts(
        loop, tokenizer, prompt, data_args.num_tunes, model_args.max_length, data_args.temperature
    )
    if accelerator.is_main_process:
        abc = [data.to_abc(text, number) for number, text in enumerate(written, start=1)]
        checks = [check_tune(tune) for tune in abc]
        known = [check_tune(data.to_abc(text)) for text in splits["train"]["text"][: data_args.num_tunes]]
        notes = {"generated": data.notes_of(written), report: data.notes_of(splits[report]["text"])}
        copied = {name: {"copied": copied_share(some, data.notes_of(texts), 12)} for name, some in notes.items()}
        temperature = {"temperature": data_args.temperature}
        run.record.metrics["generated"] = {**valid_share(checks), **copied["generated"], **temperature}
        run.record.baselines["training_tunes"] = {"generated": valid_share(known), report: copied[report]}
        (run.output_dir / "tunes.abc").write_text("\n".join(abc), encoding="utf-8")
        # Valid ones first; of the others those that can be played.
        order = sorted(range(len(abc)), key=lambda row: not checks[row].is_valid)
        played = [abc[row] for row in order if checks[row].parses][: data_args.num_files]
        for number, tune in enumerate(played, start=1):
            save_tune(tune, run.output_dir / f"tune-{number}")
            print(f"\n{tune}")
        for name, found in {**run.record.metrics, "training tunes": valid_share(known)}.items():
            print(f"{name}:", ", ".join(f"{key} {value:.4g}" for key, value in found.items()))
        path, title = run.output_dir / "learning_curves.png", f"Music, {model_args.architecture}"
        plot_learning_curves(run.record.history, path, title, "nats a token", "bits")
    run.finish(model, tokenizer)
    if accelerator.is_main_process:
        print(f"\nModel, tokenizer, run.json, tunes and learning curves are in {run.output_dir}.")
        if args.push_to_hub:
            print("Uploaded:", push_to_hub(run.output_dir, args))


if __name__ == "__main__":
    training.run_recipe(main)
