"""What seqnlp itself does with a stranger's files; `verify` runs it in a process of its own, with limits.

    python -P -m seqnlp.publishing.worker REQUEST.json ANSWER.json

No code of the model is run. Its size, its record and its card are a stranger's all the same.
"""

import json
import sys
from pathlib import Path
from typing import Any

from .bundle import build_bundle
from .checks import FAILED, PASSED, Check
from .claims import check_claims
from .errors import PublishingError
from .probe import one_line


def bundle(folder: str, target: str) -> dict[str, Any]:
    """Write what would go up of a run's output to the folder `target`."""
    try:
        found = build_bundle(folder, target, Path(folder).name)
    except PublishingError as error:
        return {"checks": [Check("can be published", FAILED, str(error))], "built": False}
    size = sum(file.size for file in found.files)
    told = f"{len(found.files)} files, {size:,} bytes"
    return {"checks": [Check("can be published", PASSED, told)], "built": True}


def claims(folder: str, dataset: str | None, loaded: bool) -> dict[str, Any]:
    """Compare what the card and the record claim."""
    return {"checks": check_claims(Path(folder), dataset, loaded)}


STEPS = {"bundle": bundle, "claims": claims}


def main(request_file: str, answer_file: str) -> None:
    """Do a step, and write what was found."""
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    try:
        answer = STEPS[request.pop("step")](**request)
    except Exception as error:  # whatever a stranger's files lead to is a line of the table
        answer = {"error": one_line(error)}
    Path(answer_file).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
