"""Translation from scratch: any dataset of sentence pairs, by a recurrent encoder-decoder or a Transformer.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/translation.py

Data: 2,452 English strings of an interface with their French (`sample:jupyterlab_fr`, docs/data.md); with
--dataset_name pairs on the Hub, or your files. Model: a GRU with attention, nothing pretrained; --config_overrides
attention_type=none, additive (the default) or multiplicative; or --architecture elman, lstm, transformer.
Expect BLEU 36.0 ± 0.6 on the 293 test strings over three seeds, after six minutes on one CPU core each. A Transformer
has 24 ± 5 after five minutes; with --optimizer muon --learning_rate 0.006, a fifth longer, 28.7 ± 1.2.
"""

from seqnlp.data import DropoutCollator, TokenBatchSampler, keep_short_pairs, pair_lengths, train_pair_tokenizers
from seqnlp.publishing import push_if_asked
from seqnlp.tasks.translation import TARGET_TOKENIZER, Tokenizers, Translation
from seqnlp.training import TrainingLoop, WeightAverager, run_recipe


# This recipe's defaults; flags and --config_overrides change any of them.
SCHEDULE = {"num_train_epochs": 40.0, "learning_rate": 2e-3, "lr_scheduler_type": "inverse_sqrt"}
TRANSFORMER = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "dropout": 0.3,
    "initializer_range": 0.09,
    "norm_position": "pre",
    "label_smoothing": 0.1,
}
RECURRENT = {
    "hidden_size": 192,
    "embedding_size": 128,
    "head_dropout": 0.3,
    "embedding_dropout": 0.3,
    "label_smoothing": 0.1,
}


def main() -> None:
    task = Translation.from_command_line(__doc__, **SCHEDULE)
    run = task.start()
    args, joint = task.training_args, task.model_args.joint_vocabulary

    # Data: columns `source` and `target`. Tokenizers are given ones, or trained on the training texts alone, once, for
    # every process; a joint one is both.
    loaded = task.load_data(run)
    pairs, settings = loaded.splits["train"], task.model_args.tokenizer_settings()
    tokenizers = task.given_processor or Tokenizers(
        *run.on_main_process(lambda: train_pair_tokenizers(pairs, **settings, joint=joint))
    )
    joint = tokenizers.source is tokenizers.target
    data = task.prepare_data(run, loaded, tokenizers)
    train = keep_short_pairs(data.examples["train"], task.model_args.max_length)
    run.record.dataset["training_pairs_left_out"] = len(pairs) - len(train)

    # Model: source in, target out, by the embeddings of one vocabulary or of two; new, or from --model_name_or_path.
    sizes = {**TRANSFORMER, "tie_word_embeddings": joint}
    if task.is_recurrent:
        sizes = {**RECURRENT, "share_embeddings": joint}
    special = {f"{name}_token_id": getattr(tokenizers.target, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    config = task.build_config(
        **sizes, **special, vocab_size=max(map(len, tokenizers)), decoder_start_token_id=tokenizers.target.bos_token_id
    )
    model = task.create_model(run, config)
    if not joint:  # the pipeline seqnlp-translation looks for it here
        model.config.target_tokenizer = TARGET_TOKENIZER
    model.generation_config.update(**task.beams, max_length=task.model_args.max_length + 1)  # with its first token

    # Training: batches of as many tokens as --max_tokens allows; merges of BPE are left out at random, if asked for.
    collator, averager = data.collator, WeightAverager(args.average_checkpoints)
    if args.bpe_dropout:
        collator = DropoutCollator(pairs, *tokenizers, args.bpe_dropout, args.seed)
    sampler = TokenBatchSampler(pair_lengths(train), args.max_tokens, args.seed, run.accelerator.num_processes)

    def evaluate(loop: TrainingLoop) -> dict[str, float]:
        averager.add(loop)
        return task.validate(loop, data)

    loop = TrainingLoop(run, args, model, train, sampler, collator, evaluate)
    loop.train()
    task.choose_weights(run, loop, data, averager)
    task.conclude(run, loop, data)
    push_if_asked(run)


if __name__ == "__main__":
    run_recipe(main)
