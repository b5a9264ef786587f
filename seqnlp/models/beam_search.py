"""What beams cost beside the model: the best continuations of all, and one source that several beams read."""

import torch


# How many neighboring numbers are looked at as one: of 16 to 256 the fastest or near it, for 8,000 to 160,000 numbers.
BLOCK_SIZE = 64


def two_stage_top_k(scores: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The `count` largest numbers of each row, sorted, and their places, as `torch.topk` gives them: first the blocks of
    [`BLOCK_SIZE`] numbers with the largest maxima, which hold them all, then the numbers in these. A maximum over
    neighbors is a vector instruction; `topk` looks at one number after the other. Among equal numbers the choice may
    differ.

    Args:
        scores: `(B, N)`.
        count: At most `N`.

    Returns:
        Numbers and places, both `(B, count)`.
    """
    num_rows, length = scores.shape
    num_blocks = length // BLOCK_SIZE
    if num_blocks < 4 * count:  # too few to leave many out
        return scores.topk(count)
    whole = num_blocks * BLOCK_SIZE
    blocks = scores[:, :whole].view(num_rows, num_blocks, BLOCK_SIZE)
    best = blocks.amax(dim=-1).topk(count).indices.unsqueeze(-1)  # (B, count, 1)
    candidates = blocks.gather(1, best.expand(-1, -1, BLOCK_SIZE)).flatten(1)  # (B, count * BLOCK_SIZE)
    places = (best * BLOCK_SIZE + torch.arange(BLOCK_SIZE, device=scores.device)).flatten(1)
    if whole < length:
        rest = torch.arange(whole, length, device=scores.device).expand(num_rows, -1)
        candidates, places = torch.cat([candidates, scores[:, whole:]], dim=1), torch.cat([places, rest], dim=1)
    found, index = candidates.topk(count)
    return found, places.gather(1, index)


class BeamSearch:
    """For models that write, before `GenerationMixin` among the bases: its beams, with a faster choice among them."""

    def _get_top_k_continuations(
        self,
        accumulated_log_probs: torch.Tensor,
        running_sequences: torch.Tensor,
        running_beam_indices: torch.Tensor,
        cur_len: int,
        decoder_prompt_len: int,
        do_sample: bool,
        beams_to_keep: int,
        num_beams: int,
        batch_size: int,
        **kwargs,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # As transformers does for beams that are not drawn, but for the top k.
        if do_sample:
            return super()._get_top_k_continuations(
                accumulated_log_probs,
                running_sequences,
                running_beam_indices,
                cur_len,
                decoder_prompt_len,
                do_sample,
                beams_to_keep,
                num_beams,
                batch_size,
                **kwargs,
            )
        log_probs, places = two_stage_top_k(accumulated_log_probs, beams_to_keep)  # (B, K)
        vocab_size = accumulated_log_probs.shape[-1] // num_beams
        beams, tokens = places // vocab_size, places % vocab_size
        sequences = self._gather_beams(running_sequences, beams)
        sequences[:, :, cur_len] = tokens
        indices = self._gather_beams(running_beam_indices, beams)
        first = torch.arange(batch_size, device=beams.device).unsqueeze(1) * num_beams
        indices[:, :, cur_len - decoder_prompt_len] = beams + first
        return log_probs, sequences, indices


class SourceOnce(BeamSearch):
    """For encoder-decoders: the rows that are written from one source, beams or samples, read it in one place."""

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids=None, **model_kwargs
    ):
        # As transformers does, but for the source, unless the caller keeps it in a cache of another kind.
        if model_kwargs.get("cache") is not None:
            return super()._expand_inputs_for_generation(expand_size, is_encoder_decoder, input_ids, **model_kwargs)
        source = {name: model_kwargs.pop(name, None) for name in ("encoder_outputs", "attention_mask")}
        input_ids, model_kwargs = super()._expand_inputs_for_generation(expand_size, False, input_ids, **model_kwargs)
        return input_ids, {**model_kwargs, **source}


def rows_per_source(num_rows: int, num_sources: int) -> int:
    """
    How many neighboring rows read each source.

    Raises:
        ValueError: If the sources do not share the rows out evenly.
    """
    # A graph has a source for each row, and cannot ask for open numbers.
    if torch.compiler.is_exporting() or num_rows == num_sources:
        return 1
    if num_sources == 0 or num_rows % num_sources:
        raise ValueError(
            f"{num_rows} rows of the target cannot read {num_sources} sources: give one for each row, or for each "
            "group of neighboring rows that are equally many."
        )
    return num_rows // num_sources


def check_source_mask(mask: torch.Tensor | None, source: torch.Tensor) -> None:
    """
    Refuse a mask of tokens that is not of this source, `(num_sources, source_length, size)`; one prepared by hand for
    each pair of tokens is not looked at.

    Raises:
        ValueError: With both shapes.
    """
    if mask is None or mask.dim() > 2 or torch.compiler.is_compiling() or mask.shape == source.shape[:2]:
        return
    raise ValueError(
        f"attention_mask of shape {tuple(mask.shape)} does not fit a source of shape {tuple(source.shape[:2])}: it "
        "must be (batch_size, source_length), 0 at padding."
    )


def beside_source(states: torch.Tensor, num_sources: int) -> torch.Tensor:
    """
    From `(B, T, size)` states to those of each source side by side, `(num_sources, B / num_sources * T, size)`.

    Raises:
        ValueError: As [`rows_per_source`].
    """
    if rows_per_source(states.shape[0], num_sources) == 1:
        return states
    return states.reshape(num_sources, -1, states.shape[-1])
