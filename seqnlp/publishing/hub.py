"""Upload a trained model to the Hub, with the code that it needs where seqnlp is not installed."""

import re
import shutil
import tempfile
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.image_processing_base import ImageProcessingMixin


RESULT_FILES = ("run.json", "learning_curves.png")


class PublishingError(ValueError):
    """A model could not be uploaded; the message says why. What is on disk is untouched."""


def push_to_hub(
    model: PreTrainedModel,
    processor: PreTrainedTokenizerBase | ImageProcessingMixin | None,
    output_dir: str | Path,
    repo_id: str | None = None,
    private: bool = False,
) -> str:
    """
    Upload model, tokenizer or image processor, the model's code, `run.json` and the learning curves, in one commit.

    Args:
        model: A trained model.
        processor: Its tokenizer or image processor; `None` where it reads numbers.
        output_dir: The folder of its run.
        repo_id: `NAME` or `ORGANISATION/NAME`; the folder's name by default.
        private: Whether the repository is private if it does not exist yet.

    Returns:
        The address of the commit.

    Raises:
        PublishingError: If the Hub cannot be reached or refuses.
    """
    output_dir = Path(output_dir)
    repo_id = repo_id or output_dir.resolve().name
    # RecurrentForCausalLM is published under AutoModelForCausalLM, RecurrentModel under AutoModel.
    head = re.search(r"For\w+$", type(model).__name__)
    type(model).register_for_auto_class("AutoModel" + (head.group() if head else ""))
    type(model.config).register_for_auto_class()
    api = HfApi()
    with tempfile.TemporaryDirectory() as bundle:
        model.save_pretrained(bundle)
        if processor is not None:
            processor.save_pretrained(bundle)
        for name in RESULT_FILES:
            if (output_dir / name).is_file():
                shutil.copy(output_dir / name, bundle)
        try:
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            return api.upload_folder(repo_id=repo_id, folder_path=bundle, commit_message="Upload model").commit_url
        except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
            reason = " ".join(str(error).split())[:300]
            raise PublishingError(
                f"--push_to_hub: {repo_id} could not be uploaded ({reason}). The results are in {output_dir}; log in "
                "by `hf auth login` if need be."
            ) from error
