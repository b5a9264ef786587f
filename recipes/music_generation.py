"""Music: tunes in ABC notation, character by character, to read, to hear and to see.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/music_generation.py --metre 6/8 --key G

Data: 4,163 fiddle tunes that music21 carries (`sample:music21`, docs/data.md), or ABC files of yours (--train_file).
Model: an LSTM; or --architecture elman, gru, transformer. It reads whole tunes: metre, unit, key, form, notes, title.
Expect 62 to 67 of 100 tunes valid (of the training tunes: 93) after four minutes on two CPU cores.
"""

from seqnlp.data import LengthGroupedBatchSampler
from seqnlp.publishing import push_if_asked
from seqnlp.tasks.music_generation import MusicGeneration
from seqnlp.tokenization import train_tokenizer
from seqnlp.training import TrainingLoop, run_recipe


# This recipe's defaults; flags and --config_overrides change any of them.
SCHEDULE = {
    "num_train_epochs": 5.0,
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 50,
    "learning_rate": 3e-3,
}
RECURRENT = {"hidden_size": 384, "embedding_size": 64, "head_dropout": 0.2}
TRANSFORMER = {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4, "dropout": 0.1}


def main() -> None:
    task = MusicGeneration.from_command_line(__doc__, **SCHEDULE)
    run = task.start()

    # Data: tunes in one form, in the column `text`. The tokenizer is trained on training tunes alone. A tune is a row,
    # from <s> to </s>, whose characters and </s> are predicted.
    tunes = task.load_data(run)
    texts = task.training_texts(tunes)
    settings = task.tokenizer_settings()
    tokenizer = task.given_processor or run.on_main_process(lambda: train_tokenizer(texts, **settings))
    data = task.prepare_data(run, tunes, tokenizer)

    # Model: characters in, the character after each of them out; new, or from --model_name_or_path.
    config = task.build_config(**(RECURRENT if task.is_recurrent else TRANSFORMER), **task.special_tokens(tokenizer))
    model = task.create_model(run, config)
    task.learn_from_teacher(run, model, data)

    # Training: tunes of similar length together; the model with the best loss on validation is kept.
    args, train = task.training_args, data.examples["train"]
    lengths = [len(tune["input_ids"]) for tune in train]
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
