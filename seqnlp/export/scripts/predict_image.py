"""What the model says of an image file: by numpy, onnxruntime and Pillow alone."""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def pixels(path, facts):
    """An image as `(1, channels, height, width)` numbers, as the model was trained on them."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)  # upright, as a camera says that it was held
        image = image.convert("RGB").resize(facts["size"], facts["resample"])
    values = np.asarray(image, np.float32) * np.float32(facts["rescale_factor"])
    values = (values - np.array(facts["mean"], np.float32)) / np.array(facts["std"], np.float32)
    return values.transpose(2, 0, 1)[None]


def main():
    """The file on the command line, and a line for each label."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image")
    arguments = parser.parse_args()
    folder = Path(__file__).parent
    facts = json.loads((folder / "runtime.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    logits = session.run(None, {"pixel_values": pixels(arguments.image, facts)})[0][0]
    exponentials = np.exp(logits - logits.max())
    for place in (-logits).argsort():
        print(facts["labels"][place], f"{exponentials[place] / exponentials.sum():.4f}", sep="\t")


if __name__ == "__main__":
    main()
