"""Translation from scratch: any dataset of sentence pairs, by a Transformer or a recurrent encoder-decoder.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/translation.py

Data: 2,452 English strings of an interface with their French (`sample:jupyterlab_fr`, docs/data.md); with
--dataset_name pairs on the Hub, or your files. Model: a Transformer, nothing pretrained; or --architecture elman, gru,
lstm, with --config_overrides attention_type=none, additive (the default) or multiplicative.
Expect BLEU 24 ± 5 on the 293 test strings after four minutes on two CPU cores.
"""

from seqnlp import RecurrentSeq2SeqForConditionalGeneration, TransformerForConditionalGeneration
from seqnlp.data import (
    DropoutCollator,
    PairCollator,
    TokenBatchSampler,
    describe,
    keep_short_pairs,
    load_translation,
    pair_lengths,
    tokenize_pairs,
    train_pair_tokenizers,
)
from seqnlp.metrics import BLEU, translation_report, translation_scores
from seqnlp.publishing import push_to_hub
from seqnlp.training import (
    TrainingLoop,
    TranslationDataArguments,
    TranslationModelArguments,
    TranslationTrainingArguments,
    Translator,
    WeightAverager,
    build_config,
    parse_arguments,
    run_recipe,
    start_run,
)
from seqnlp.visualization import plot_bleu_by_length, plot_learning_curves


# This recipe's defaults; --config_overrides changes any of them.
TRANSFORMER = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
TRANSFORMER |= {"dropout": 0.3, "initializer_range": 0.09, "norm_position": "pre", "label_smoothing": 0.1}
RECURRENT = {"hidden_size": 192, "embedding_size": 128, "head_dropout": 0.3, "embedding_dropout": 0.3}
RECURRENT |= {"label_smoothing": 0.1}


def main() -> None:
    data_args, model_args, args = parse_arguments(
        TranslationDataArguments,
        TranslationModelArguments,
        TranslationTrainingArguments,
        recipe="translation",
        description=__doc__,
    )
    if data_args.dataset_name is None and data_args.train_file is None:
        data_args.dataset_name = "sample:jupyterlab_fr"
    run = start_run("translation", model_args.architecture, args, data_args, model_args)
    accelerator = run.accelerator

    # Data: columns `source` and `target`.
    with accelerator.main_process_first():
        splits, source, languages = load_translation(data_args)
    run.record.dataset = {**describe(splits, source), **languages._asdict()}

    # Tokenizers: trained on the training texts alone, once, for every process; a joint one is both.
    kind = {name: getattr(model_args, name) for name in ("tokenizer_type", "vocab_size", "lowercase", "min_frequency")}
    joint = model_args.joint_vocabulary
    tokenizers = run.on_main_process(lambda: train_pair_tokenizers(splits["train"], **kind, joint=joint))
    with accelerator.main_process_first():
        tokenized = {split: tokenize_pairs(pairs, *tokenizers) for split, pairs in splits.items()}
        train = keep_short_pairs(tokenized["train"], model_args.max_length)
    run.record.dataset["training_pairs_left_out"] = len(splits["train"]) - len(train)

    fields = {"vocab_size": max(map(len, tokenizers)), "decoder_start_token_id": tokenizers[1].bos_token_id}
    fields |= {f"{name}_token_id": getattr(tokenizers[1], f"{name}_token_id") for name in ("pad", "bos", "eos")}
    if model_args.architecture == "transformer":
        model_class = TransformerForConditionalGeneration
        fields |= {**TRANSFORMER, "tie_word_embeddings": joint}
    else:
        model_class = RecurrentSeq2SeqForConditionalGeneration
        fields |= {**RECURRENT, "cell_type": model_args.architecture, "share_embeddings": joint}
    model = model_class(build_config(model_class.config_class, model_args.config_overrides, **fields))
    if not joint:  # the pipeline seqnlp-translation looks for it here
        model.config.target_tokenizer = "target_tokenizer"
    beams = {"num_beams": args.num_beams, "length_penalty": args.length_penalty}
    model.generation_config.update(**beams, max_length=None, max_new_tokens=model_args.max_length)

    collator = training_collator = PairCollator(tokenizers[0])
    if args.bpe_dropout:
        training_collator = DropoutCollator(splits["train"], *tokenizers, args.bpe_dropout, args.seed)
    averager = WeightAverager(args.average_checkpoints)

    def validation_bleu(**beams) -> float:
        texts = translator.translate(tokenized["validation"], **beams)
        references = splits["validation"]["target"]
        return BLEU().compute(predictions=texts, references=references, lowercase=model_args.lowercase)["bleu"]

    def evaluate(loop: TrainingLoop) -> dict[str, float]:
        averager.add(loop)
        scores = {"loss": translator.loss(tokenized["validation"])}
        if translator.is_due(args.bleu_every):
            scores |= {"bleu": validation_bleu(num_beams=1), "seconds": loop.seconds}
        return scores

    sampler = TokenBatchSampler(pair_lengths(train), args.max_tokens, args.seed, accelerator.num_processes)
    loop = TrainingLoop(run, args, model, train, sampler, training_collator, evaluate)
    translator = Translator(loop, tokenizers[1], collator)
    loop.train()

    # Choose by validation only; the test sentences are looked at here, once, and not before training is over.
    weights = averager.keep_better(loop, lambda: validation_bleu(**beams))
    tests = [] if run.record.stopped else [split for split in splits if split not in ("train", "validation")]
    predictions = {split: translator.translate(tokenized[split], **beams) for split in ("validation", *tests)}
    for split, texts in predictions.items():
        pairs, loss = splits[split], translator.loss(tokenized[split])
        scores = translation_scores(pairs["source"], texts, pairs["target"], languages.target)
        run.record.metrics[split] = {"loss": loss, **scores}
        if accelerator.is_main_process:
            lines = "".join(text.replace("\n", " ") + "\n" for text in texts)
            (run.output_dir / f"translations.{split}.txt").write_text(lines, encoding="utf-8")
    run.record.metrics["validation"] |= {"bleu_by_weights": weights, **translator.speed()}

    if accelerator.is_main_process:
        split, title = (tests or ["validation"])[0], f"Translation, {model_args.architecture}"
        print(f"\n{translation_report(split, splits[split], predictions[split], run.record.metrics[split])}")
        history, folder = run.record.history, run.output_dir
        plot_learning_curves(history, folder / "learning_curves.png", title, "nats per token", "BLEU")
        bins = {model_args.architecture: run.record.metrics[split]["bleu_by_source_length"]}
        plot_bleu_by_length(bins, folder / "bleu_by_length.png", title, f"split {split}")
    if not joint and accelerator.is_main_process:
        tokenizers[1].save_pretrained(run.output_dir / model.config.target_tokenizer)
    run.save(loop.model, tokenizers[0])
    run.finish()
    if accelerator.is_main_process:
        print(f"\nModel, tokenizer, run.json and pictures are in {run.output_dir}.")
        if args.push_to_hub:
            print("Uploaded:", push_to_hub(run.output_dir, args))


if __name__ == "__main__":
    run_recipe(main)
