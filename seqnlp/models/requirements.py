"""What a model of this folder needs where it is loaded; importing this module fails, in one line, if it is not there.

Every configuration imports it before anything else, since it is the first file that is loaded with a published model.
"""

import re

import transformers


TRANSFORMERS = "5.23"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


if _numbers(transformers.__version__) < _numbers(TRANSFORMERS):
    raise ImportError(
        f"This model needs transformers {TRANSFORMERS} or newer, and {transformers.__version__} is installed: "
        f'pip install -U "transformers>={TRANSFORMERS}"'
    )
