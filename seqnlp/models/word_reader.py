"""Words from their spelling: what a tagger reads where its tokens are characters, or other pieces, of words.

Shapes: `B` rows, `T` tokens, `W` words of the row that has most, `U` different words of a batch, `L` tokens of the
longest word.
"""

import torch
from torch import nn
from transformers import initialization as init


KERNEL_SIZE = 3
_BASE = 6364136223846793005  # odd, and large enough that one more token changes all bits (Knuth 1998, section 3.3.4)
_NO_WORD = torch.iinfo(torch.int64).max


class WordReader(nn.Module):
    """
    One vector per word, from the vectors `c` of its pieces and, for a word `w` that is known, from one of its own.

    `x_w = max_i (V [c_{i-1}; c_i; c_{i+1}] + b) + E_w`: a convolution over the spelling and the largest value of each
    component (dos Santos & Zadrozny 2014, section 2.1.2; Ma & Hovy 2016, arXiv 1603.01354, section 2.1), and an
    embedding; they join the two vectors end to end, and here they are added. A word that is not known has `E_0`, which
    is learned as `word_dropout` lets known words pass for unknown ones.

    Which words are known is a part of the weights: 64 bits of each, hashed from its tokens, in ascending order.

    Args:
        size: Width of the vectors of pieces and of words.
        first_continuing_id: Tokens from this one on continue a word; the others begin one.
        num_words: How many words may be known; 0 for none.
        word_dropout: Probability with which, in training, a known word passes for an unknown one.
    """

    def __init__(self, size: int, first_continuing_id: int, num_words: int, word_dropout: float):
        super().__init__()
        self.first_continuing_id = first_continuing_id
        self.word_dropout = word_dropout
        self.convolution = nn.Conv1d(size, size, KERNEL_SIZE, padding=KERNEL_SIZE // 2)
        self.embed_words = nn.Embedding(num_words + 1, size)
        self.known = nn.Buffer(torch.full((num_words,), _NO_WORD))

    @property
    def knows_words(self) -> bool:
        """Whether there is a word that has a vector of its own."""
        return bool((self.known != _NO_WORD).any())

    def reset_known(self) -> None:
        """Know no word, unless the words were loaded from a checkpoint."""
        init.constant_(self.known, _NO_WORD)

    def know(self, spellings: list[list[int]]) -> None:
        """
        Know these words.

        Args:
            spellings: The tokens of each.

        Raises:
            ValueError: If they are more than there is room for.
        """
        if len(spellings) > len(self.known):
            raise ValueError(f"There is room for {len(self.known)} words, and {len(spellings)} are to be known.")
        hashes = [int(_hash_tokens(torch.tensor([word]), torch.arange(len(word))[None]).sum()) for word in spellings]
        self.known.fill_(_NO_WORD)
        self.known[: len(hashes)] = torch.tensor(sorted(hashes), dtype=torch.int64, device=self.known.device)

    @torch.compiler.disable  # the number of words is read off the texts, which a graph cannot
    def forward(
        self, embed_tokens: nn.Embedding, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Args:
            embed_tokens: Gives the vectors of the pieces.
            input_ids: `(B, T)`.
            attention_mask: `(B, T)`, 0 at padding, which may stand anywhere; `None` if all tokens are valid.

        Returns:
            `(B, W, size)` vectors of words; their `(B, W)` mask, 0 where a row has no more words; and `(B, T)`, the
            word of its row that each token belongs to.

        Raises:
            ValueError: If the mask has another shape than the tokens.
        """
        if attention_mask is not None and attention_mask.shape != input_ids.shape:
            raise ValueError(
                f"attention_mask of shape {tuple(attention_mask.shape)} does not fit input_ids of shape "
                f"{tuple(input_ids.shape)}: it must be (batch_size, sequence_length), 0 at padding."
            )
        mask = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        count = mask.cumsum(1)
        # A row's first token begins a word, whatever it is: a text may have been cut there.
        begins = mask & ((input_ids < self.first_continuing_id) | (count == 1))
        index = (begins.cumsum(1) - 1).clamp(min=0)  # (B, T)
        place = count - torch.where(begins, count, 0).cummax(1).values  # (B, T), of a token in its word
        num_words = begins.sum(1, keepdim=True)
        words = torch.arange(max([1, *num_words.flatten().tolist()]), device=mask.device) < num_words  # (B, W)

        hashes = _hash_tokens(input_ids, place).masked_fill(~mask, 0)
        hashes = hashes.new_zeros(words.shape).scatter_add_(1, index, hashes)  # (B, W)
        different, which = torch.unique(hashes[words], return_inverse=True)  # (U,), (words of the batch,)
        inverse = index.new_zeros(words.shape)
        inverse[words] = which
        spelled = self._spell(
            embed_tokens, input_ids[mask], inverse.gather(1, index)[mask], place[mask], len(different)
        )
        rows = self._look_up(different)[which]
        if self.training and self.word_dropout:
            rows = rows.masked_fill(torch.rand(rows.shape, device=rows.device) < self.word_dropout, 0)
        vectors = spelled[which] + self.embed_words(rows)
        placed = vectors.new_zeros(*words.shape, vectors.shape[-1])
        placed[words] = vectors
        return placed, words.to(torch.int64), index

    def _spell(self, embed_tokens, tokens, word, place, num_words: int) -> torch.Tensor:
        """`(U, size)` vectors of spellings, given for each token its word and its place in it."""
        if num_words == 0:
            return self.embed_words.weight.new_zeros(0, self.embed_words.embedding_dim)
        longest = int(place.max()) + 1
        grid = tokens.new_zeros(num_words, longest)
        is_there = torch.zeros_like(grid, dtype=torch.bool)
        grid[word, place] = tokens  # the same word from several places writes the same
        is_there[word, place] = True
        pieces = embed_tokens(grid).masked_fill(~is_there.unsqueeze(-1), 0)  # (U, L, size)
        found = self.convolution(pieces.transpose(1, 2))  # (U, size, L)
        return found.masked_fill(~is_there.unsqueeze(1), torch.finfo(found.dtype).min).amax(-1)

    def _look_up(self, hashes: torch.Tensor) -> torch.Tensor:
        """The row of `embed_words` of each word."""
        if len(self.known) == 0:
            return torch.zeros_like(hashes)
        row = torch.searchsorted(self.known, hashes).clamp(max=len(self.known) - 1)
        return torch.where(self.known[row] == hashes, row + 1, 0)


def _hash_tokens(tokens: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """What each token adds to the hash of its word, modulo 2^64: `(token + 1) BASE^(place + 1)`."""
    longest = int(place.max()) + 1 if place.numel() else 0
    powers = torch.full((longest,), _BASE, device=tokens.device).cumprod(0)
    return (tokens + 1) * powers[place]
