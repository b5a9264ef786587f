"""Image classification: one label per image, by a Transformer that reads an image as a sequence of patches."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from transformers import AutoImageProcessor, AutoModelForImageClassification

from ..data import DIGITS, ImageArguments, ImageCollator, LoadedData, ProcessedImages, load_images
from ..metrics import CLASSIFICATION_SCORES, classification_report, classification_scores
from ..models import VisionTransformerForImageClassification
from ..training import ArgumentsError, Predictions
from ..training.flags import flag, flag_as_in
from ..visualization import plot_image_errors
from .arguments import TRANSFORMER, ModelArguments
from .base import OF_ITS_DATA, Evaluator, Outcome, PreparedData, Task
from .reporting.results import of_baseline, plain_name, spread
from .reporting.telling import surest_error


EXAMPLE = "example.png"
"""The file of an image of the reported split."""
MOST_PIXELS = 10_000_000
"""Beyond that many in the training images, models of pixels would take longer than the network."""


@dataclass
class ImageModelArguments(ModelArguments):
    """What is trained."""

    architecture: str = flag_as_in(ModelArguments, "architecture", default=TRANSFORMER, choices=(TRANSFORMER,))
    image_size: int | None = flag(
        None, "Side in pixels; that of the first image if not given.", "model", "[1, 4096]", fixed_by="model"
    )
    max_shift: int = flag(1, "Largest number of pixels by which a training image is shifted.", "training", "[0, 1024]")


class ImageClassification(Task):
    """What is in an image?"""

    name = "image_classification"
    title = "Image classification"
    pipeline_tag = "image-classification"
    use = "Classifying images like those it was trained on; a baseline; teaching and study of sequence models."
    limits = (OF_ITS_DATA, "Images of another size, color or subject are beyond what was measured here.")

    data_arguments = ImageArguments
    model_arguments = ImageModelArguments
    processor_name = "image_processor"
    example_flags = "--dataset_name photos --image_size 32 --num_train_epochs 40"
    default_dataset = DIGITS
    auto_class = AutoModelForImageClassification
    model_classes = {TRANSFORMER: VisionTransformerForImageClassification}
    scores = CLASSIFICATION_SCORES
    validated = ("accuracy", "f1", "loss")
    pictures = {"errors.png": "Images that the model got wrong", EXAMPLE: "An image to try the model with"}
    targets = "images"
    compared_with = "what pixels tell nearest neighbours and logistic regression"

    @classmethod
    def example(cls, record: dict[str, Any], revision: str) -> str:
        """The pipeline, on a file."""
        return 'print(pipeline("image-classification", model=model, image_processor=image_processor)("picture.png"))'

    def trial(self, data: PreparedData, folder: Path) -> list[str]:
        """The file that [`ImageClassification.draw`] leaves."""
        return ["--file", str(folder / EXAMPLE)]

    def load(self) -> LoadedData:
        """Columns `image` and `label`."""
        return load_images(self.data_args)

    def load_processor(self, folder: Path) -> Any:
        """The image processor."""
        return AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)

    def load_given_processor(self) -> Any:
        """The model's own, which is given images in color."""
        if self.model_args.image_size is not None:
            raise ArgumentsError(
                f"--image_size {self.model_args.image_size}: {self.start_model.source.name} has a size of its own. "
                "Leave the flag out."
            )
        processor = super().load_given_processor()
        processor.do_convert_rgb = True
        return processor

    def prepare(self, loaded: LoadedData, processor: Any, splits: Iterable[str] | None = None) -> PreparedData:
        """Pixels and a label."""
        examples = {split: ProcessedImages(loaded.splits[split], processor) for split in splits or loaded.splits}
        return PreparedData(loaded, processor, examples, ImageCollator())

    def predict(self, evaluator: Evaluator, data: PreparedData, split: str) -> Predictions:
        """Logits and labels."""
        return evaluator.predict(data.examples[split], data.collator)

    def score(self, predictions: Predictions, data: PreparedData, split: str) -> dict[str, float]:
        """Accuracy, F1 and loss."""
        return classification_scores(*predictions)

    def sample(self, evaluator: Evaluator, data: PreparedData, predictions: Predictions) -> str:
        """The error of validation that it is surest of."""
        names = data.loaded.splits["validation"].features["label"].names
        return surest_error(predictions, names, lambda row: f"image {row}")

    def baselines(self, data: PreparedData, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """What pixels tell without a network: nearest neighbors and logistic regression, chosen on validation."""
        first = data.examples["train"][0]["pixel_values"]
        if first[0].numel() * len(data.examples["train"]) >= MOST_PIXELS:
            return {}
        parts = dict.fromkeys(("train", "validation", split))
        batches = {part: data.collator(list(data.examples[part])) for part in parts}
        pixels = {part: batch["pixel_values"].flatten(1).numpy() for part, batch in batches.items()}
        labels = {part: batch["labels"].numpy() for part, batch in batches.items()}
        neighbors = [count for count in (1, 3, 5) if count <= len(labels["train"])]
        found = {}
        for name, models in {
            "nearest neighbours": [KNeighborsClassifier(count) for count in neighbors],
            "logistic regression": [LogisticRegression(C=c, max_iter=1000) for c in (0.01, 0.1, 1)],
        }.items():
            fitted = [model.fit(pixels["train"], labels["train"]) for model in models]
            best = max(fitted, key=lambda model: model.score(pixels["validation"], labels["validation"]))
            probabilities = np.zeros((len(labels[split]), len(data.loaded.splits["train"].features["label"].names)))
            probabilities[:, best.classes_] = best.predict_proba(pixels[split])  # of the classes that it has seen
            found[name] = {split: classification_scores(np.log(probabilities + 1e-9), labels[split])}
        return found

    def report(self, outcome: Outcome) -> str:
        """Scores beside those of pixels, the confusion matrix, and the errors that it was surest of."""
        part = outcome.data.loaded.splits[outcome.split]
        rows = [f"image {row}" for row in range(len(part))]
        name = "Vision Transformer (seqnlp)" if self.start_model is None else self.label
        table = {name: outcome.metrics, **outcome.baselines}
        names, predictions = part.features["label"].names, outcome.predictions[outcome.split]
        return f"{outcome.split.capitalize()}: {classification_report(names, rows, *predictions, table)}"

    def draw(self, outcome: Outcome) -> None:
        """The images that it got wrong, and one as a file to try it with."""
        part = outcome.data.loaded.splits[outcome.split]
        part[0]["image"].convert("RGB").save(outcome.file(EXAMPLE))
        name = "Vision Transformer" if self.start_model is None else self.label
        title = f"{name}, {plain_name(outcome.data.loaded.source.name)}"
        predictions, names = outcome.predictions[outcome.split], part.features["label"].names
        plot_image_errors(part["image"], *predictions, names, outcome.file("errors.png"), title)

    @classmethod
    def results_row(cls, records: list[dict], split: str) -> dict[str, str]:
        """Accuracy, with its 95 % interval where there is one run alone, beside what pixels tell without a network."""
        accuracy = spread(record["metrics"][split]["accuracy"] for record in records)
        if len(records) == 1:
            rows = records[0]["dataset"]["splits"][split]["rows"]
            right = round(records[0]["metrics"][split]["accuracy"] * rows)
            low, high = binomtest(right, rows).proportion_ci(method="wilson")
            accuracy += f" [{100 * low:.1f}, {100 * high:.1f}]"
        return {
            "validation": spread(record["metrics"]["validation"]["accuracy"] for record in records),
            "accuracy, %": f"{accuracy} ({split})",
            **{name: spread(of_baseline(records, name, split, "accuracy")) for name in records[0]["baselines"]},
        }
