"""Loaded weights lie where new ones lie, so that a loaded model computes what the saved one did, to the bit."""

import torch


# Where torch's own allocator puts what it allocates on a CPU, in bytes.
ALIGNMENT = 64


class AlignedWeights:
    """
    A base of our `PreTrainedModel`s, in front of it: weights are moved to aligned memory once they are loaded.

    transformers leaves them where they stand in the file, which it maps into memory, and there a matrix begins
    anywhere. BLAS takes another road through such a matrix, and the last bit of its products differs.
    """

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """As `PreTrainedModel.from_pretrained`."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info=True there is more
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.device.type == "cpu" and parameter.data_ptr() % ALIGNMENT:
                    parameter.data = parameter.data.clone()
        return loaded
