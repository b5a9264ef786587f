"""Tagging: one label per word, such as its part of speech or the kind of name that it belongs to.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/tagging.py

Data: 4,851 Turkish sentences (`sample:turkish`, docs/data.md); with --dataset_name words on the Hub, or your files.
Model: a bidirectional LSTM over words, each read by its spelling; or --architecture elman, gru, transformer (encoder).
Expect 92.2 % of the words right (each word's most frequent label: 86.5 %); 88.9 % of the words not seen in training.
"""

from seqnlp.data import LengthGroupedBatchSampler, labels_of, lengths_of
from seqnlp.publishing import push_if_asked
from seqnlp.tasks.tagging import Tagging
from seqnlp.training import TrainingLoop, run_recipe


# This recipe's defaults; flags and --config_overrides change any of them.
SCHEDULE = {"num_train_epochs": 8.0, "learning_rate": 2e-3, "metric_for_best_model": "accuracy"}
RECURRENT = {
    "hidden_size": 192,
    "embedding_size": 128,
    "bidirectional": True,
    "embedding_dropout": 0.5,
    "dropout": 0.5,
    "head_dropout": 0.5,
}
TRANSFORMER = {"hidden_size": 128, "num_hidden_layers": 2, "norm_position": "pre", "dropout": 0.2, "head_dropout": 0.5}


def main() -> None:
    task = Tagging.from_command_line(__doc__, **SCHEDULE)
    run = task.start()

    # Data: columns `tokens` and `tags`. The tokenizer is a given one, or trained on training words alone, once, for
    # every process.
    words = task.load_data(run)
    label_names = labels_of(words.splits["train"])
    tokenizer = task.given_processor or run.on_main_process(lambda: task.train_tokenizer(words.splits["train"]))
    data = task.prepare_data(run, words, tokenizer)

    # Model: words in, each by its tokens; the names of the labels out; new, or from --model_name_or_path.
    config = task.build_config(
        **(RECURRENT if task.is_recurrent else TRANSFORMER),
        **task.reading_of(tokenizer, data),
        id2label=dict(enumerate(label_names)),
        label2id={name: index for index, name in enumerate(label_names)},
    )
    model = task.create_model(run, config)
    task.teach_words(model, data)
    task.learn_from_teacher(run, model, data)

    # Training: sentences of similar length together; the model that is best on validation is kept.
    args, train = task.training_args, data.examples["train"]
    lengths = lengths_of(train, "input_ids")
    loop = TrainingLoop(
        run,
        args,
        model,
        train,
        LengthGroupedBatchSampler(lengths, args.per_device_train_batch_size, args.seed),
        data.collator,
        evaluate=lambda loop: task.validate(loop, data),
    )
    loop.train()
    task.conclude(run, loop, data)
    push_if_asked(run)


if __name__ == "__main__":
    run_recipe(main)
