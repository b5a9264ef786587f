"""What every kind of model has here, and what an answer is in one line."""

import pytest
from transformers import AutoModel

from seqnlp.demo import (
    ClassAnswer,
    ImageAnswer,
    MaskAnswer,
    SeriesAnswer,
    TagAnswer,
    TextAnswer,
    TranslationAnswer,
    TuneAnswer,
)
from seqnlp.demo.answerers import ANSWERERS
from seqnlp.demo.answers import Scored, Span, Tag
from seqnlp.models import AUTO_CLASSES


SCORES = [Scored(" ", 0.5), Scored("b", 0.2), Scored("c", 0.1), Scored("d", 0.1), Scored("e", 0.06), Scored("f", 0.04)]
NAMED = "␣ (50.0%), b (20.0%), c (10.0%), d (10.0%), e (6.0%)"


def test_every_kind_of_head_has_what_answers_for_it():
    served = {answerer.auto_class for answerer in ANSWERERS}
    missing = [kind for kind, auto_class in AUTO_CLASSES.items() if auto_class not in served | {AutoModel}]
    assert missing == [], "no Answerer serves these"


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (ClassAnswer("a film", " ", SCORES, None, [], "occlusion"), f"It answers {NAMED}."),
        (ClassAnswer("a film", "", [], 0.123456, [], "occlusion"), "It answers 0.1235."),
        (ImageAnswer(" ", SCORES, None), f"It answers {NAMED}."),
        (TagAnswer("Ada", [Tag("Ada", 0, 3, "B-PER", 0.9)], [Span("Ada", 0, 3, "PER")]), "It answers Ada/PER."),
        (TagAnswer("a", [Tag("a", 0, 1, "O", 0.9)], []), "It answers no entity."),
        (MaskAnswer("___ ___", "x y", [SCORES[:1], SCORES[1:2]]), "It fills in ␣ (50.0%); then b (20.0%)."),
        (MaskAnswer("x", "x", []), "There is no gap in the text to fill."),
        (TextAnswer("a", "", SCORES), f"Next it expects {NAMED}."),
        (TuneAnswer("M:6/8", "", SCORES[:1]), "Next it expects ␣ (50.0%)."),
        (TranslationAnswer("a", "x", -0.5, ["a"], ["x"], None), ""),
        (SeriesAnswer(["a"], "m", [[1.0]], [[1.0]], 2.0, "s"), ""),
    ],
)
def test_an_answer_in_one_line(answer, line):
    assert answer.in_words() == line
