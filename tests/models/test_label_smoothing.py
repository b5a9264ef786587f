"""Label smoothing of the classifiers, by hand: in training alone, of one class, several labels, weighed classes."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from test_heads import CLASSIFIERS, every_classifier

from seqnlp import RecurrentConfig, RecurrentForSequenceClassification
from seqnlp.models.losses import DistillationLoss, WeightedCrossEntropy, classifier_loss


LN2 = math.log(2)
LOGITS = torch.tensor([0.5, 0.25, 0.25]).log()


@every_classifier
def test_a_share_of_the_label_is_spread_over_the_classes_in_training(model_class):
    config = type(CLASSIFIERS[model_class])(**{**CLASSIFIERS[model_class].to_diff_dict(), "label_smoothing": 0.3})
    model = model_class(config)
    with torch.no_grad():
        model.score.weight.zero_()
        model.score.bias.copy_(LOGITS)
    inputs = {"input_ids": torch.randint(4, 20, (2, 2))}
    if model.main_input_name == "pixel_values":
        inputs = {"pixel_values": torch.randn(2, 3, 4, 4)}
    labels = torch.tensor([0, 1])
    if "Token" in model_class.__name__:
        labels = torch.tensor([[0, -100], [1, -100]])
    # Label 0: 0.8 ln 2 + 2 * 0.1 ln 4; label 1: 0.1 ln 2 + 0.8 ln 4 + 0.1 ln 4.
    assert float(model.train()(**inputs, labels=labels).loss.detach()) == pytest.approx((1.2 + 1.9) * LN2 / 2)
    loss = model(**inputs, labels=labels, num_items_in_batch=torch.tensor(8)).loss
    assert float(loss.detach()) == pytest.approx((1.2 + 1.9) * LN2 / 8)
    assert float(model.eval()(**inputs, labels=labels).loss.detach()) == pytest.approx((1 + 2) * LN2 / 2)


def test_each_of_several_labels_is_spread_over_yes_and_no():
    sizes = {"vocab_size": 20, "hidden_size": 4, "num_labels": 2, "problem_type": "multi_label_classification"}
    model = RecurrentForSequenceClassification(RecurrentConfig(**sizes, label_smoothing=0.2))
    with torch.no_grad():
        model.score.weight.zero_()
        model.score.bias.fill_(math.log(3))  # 0.75
    ids, labels = torch.tensor([[5, 6]]), torch.tensor([[1.0, 0.0]])
    yes = -0.9 * math.log(0.75) - 0.1 * math.log(0.25)
    no = -0.1 * math.log(0.75) - 0.9 * math.log(0.25)
    assert float(model.train()(ids, labels=labels).loss.detach()) == pytest.approx((yes + no) / 2)
    assert float(model(ids, labels=labels, num_items_in_batch=4).loss.detach()) == pytest.approx((yes + no) / 4)


def test_losses_of_ones_own_smooth_too():
    labels, logits = torch.tensor([1]), LOGITS.unsqueeze(0)
    weighed = WeightedCrossEntropy(torch.tensor([1.0, 2.0, 4.0]))(labels, logits, label_smoothing=0.3)
    assert float(weighed) == pytest.approx((0.7 * 2 * 2 + 0.1 * (1 + 2 * 2 + 4 * 2)) * LN2)
    assert float(DistillationLoss("kl", 0.5, 2.0)(labels, logits, label_smoothing=0.3)) == pytest.approx(1.9 * LN2)


def test_numbers_have_no_classes():
    with pytest.raises(StrictDataclassClassValidationError, match=r"label_smoothing=0\.1 is for classes, and numbers"):
        RecurrentConfig(num_labels=1, problem_type="regression", label_smoothing=0.1)
    config = RecurrentConfig(num_labels=1, label_smoothing=0.1)
    with pytest.raises(ValueError, match=r"label_smoothing=0\.1 is for classes, and numbers have none"):
        classifier_loss(torch.tensor([0.5]), torch.tensor([[0.1]]), config, 0.1)
