"""What is in an image? A Vision Transformer trained from scratch, which reads an image as a sequence of patches.

    accelerate launch --config_file recipes/accelerate/one_process.yaml recipes/image_classification.py

Data: 1,797 handwritten digits of 8 by 8 pixels that come with scikit-learn (360 of them the test); with --dataset_name
a folder with a folder of images for each class, or a dataset on the Hub.
Training images are shifted by up to --max_shift pixels, drawn anew each time; no other augmentation.
Expect 97.5 ± 0.8 % accuracy over four seeds (nearest neighbors: 98.6 %) within two minutes on two CPU cores.
"""

from transformers import ViTImageProcessorPil

from seqnlp.data import ImageCollator, LengthGroupedBatchSampler, image_size_of, patch_size_of
from seqnlp.publishing import push_if_asked
from seqnlp.tasks.image_classification import ImageClassification
from seqnlp.training import TrainingLoop, run_recipe


# This recipe's defaults; flags and --config_overrides change any of them.
SCHEDULE = {
    "num_train_epochs": 120.0,
    "learning_rate": 2e-3,
    "per_device_train_batch_size": 64,
    "weight_decay": 0.05,
    "metric_for_best_model": "accuracy",
}
SIZES = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "dropout": 0.0, "initializer_range": 0.1}


def main() -> None:
    task = ImageClassification.from_command_line(__doc__, **SCHEDULE)
    run = task.start()

    # Data: columns `image` and `label`. Everything in color, as the pipeline hands images over: gray pixels are three
    # equal numbers.
    images = task.load_data(run)
    train = images.splits["train"]
    label_names = train.features["label"].names
    size = task.model_args.image_size or image_size_of(min(train[0]["image"].size))
    processor = ViTImageProcessorPil(size={"height": size, "width": size}, do_convert_rgb=True)
    data = task.prepare_data(run, images, task.given_processor or processor)

    # Model: patches in, the names of the classes out; new, or from --model_name_or_path.
    config = task.build_config(
        **SIZES,
        image_size=size,
        patch_size=patch_size_of(size),
        id2label=dict(enumerate(label_names)),
        label2id={name: index for index, name in enumerate(label_names)},
    )

    # Training: images in random order, each shifted a little; the model that is best on validation is kept.
    args = task.training_args
    loop = TrainingLoop(
        run,
        args,
        task.create_model(run, config),
        data.examples["train"],
        LengthGroupedBatchSampler([1] * len(train), args.per_device_train_batch_size, args.seed),
        ImageCollator(task.model_args.max_shift),
        evaluate=lambda loop: task.validate(loop, data),
    )
    loop.train()
    task.conclude(run, loop, data)
    push_if_asked(run)


if __name__ == "__main__":
    run_recipe(main)
