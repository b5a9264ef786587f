"""A task added from outside: part-of-speech tags of made-up sentences. One class, as a stranger would write it."""

import torch
from datasets import Dataset
from transformers import AutoModelForTokenClassification, AutoTokenizer, DataCollatorForTokenClassification

from seqnlp import RecurrentForTokenClassification, TransformerEncoderForTokenClassification
from seqnlp.data import DataSource, LoadedData
from seqnlp.metrics import Score
from seqnlp.tasks import PreparedData, Task


TAGS = ["DET", "NOUN", "VERB"]
WORDS = {"the": 0, "a": 0, "dog": 1, "cat": 1, "sleeps": 2, "runs": 2}


class ToyTagging(Task):
    """Which part of speech is each word?"""

    name = "toy_tagging"
    title = "Toy tagging"
    pipeline_tag = "token-classification"
    use = "Tests."
    default_dataset = "simulated:ball"
    auto_class = AutoModelForTokenClassification
    model_classes = {
        "recurrent": RecurrentForTokenClassification,
        "transformer": TransformerEncoderForTokenClassification,
    }
    scores = (Score("accuracy", "Accuracy", "share of the words whose tag is right", True, is_share=True, digits=1),)
    validated = ("accuracy",)

    def load(self):
        generator = torch.Generator().manual_seed(0)
        splits = {}
        for split, count in (("train", 60), ("validation", 10), ("test", 10)):
            rows = torch.randint(len(WORDS), (count, 4), generator=generator).tolist()
            sentences = [[list(WORDS)[index] for index in row] for row in rows]
            tags = [[WORDS[word] for word in words] for words in sentences]
            splits[split] = Dataset.from_dict({"words": sentences, "tags": tags})
        return LoadedData(splits, DataSource("simulated:ball"))

    def load_processor(self, folder):
        return AutoTokenizer.from_pretrained(folder)

    def prepare(self, loaded, processor, splits=None):
        examples = {}
        for split in splits or loaded.splits:
            rows = loaded.splits[split]
            ids = [processor.convert_tokens_to_ids(words) for words in rows["words"]]
            columns = {"input_ids": ids, "labels": rows["tags"]}
            examples[split] = Dataset.from_dict(columns)
        return PreparedData(loaded, processor, examples, DataCollatorForTokenClassification(processor))

    def predict(self, evaluator, data, split):
        def right(model, batch):
            tags = model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits.argmax(-1)
            kept = batch["labels"] != -100
            return [
                ((tag == label)[keep]).tolist() for tag, label, keep in zip(tags, batch["labels"], kept, strict=True)
            ]

        return evaluator.evaluate_rows(data.examples[split], right, data.collator)

    def score(self, predictions, data, split):
        found = [is_right for row in predictions for is_right in row]
        return {"accuracy": sum(found) / len(found)}

    def baselines(self, data, split):
        raise ValueError("no baseline for toys")

    def report(self, outcome):
        return f"{outcome.split}: {outcome.metrics['accuracy']:.1%} right"

    @classmethod
    def results_row(cls, records, split):
        return {"accuracy": f"{records[0]['metrics'][split]['accuracy']:.1%}"}
