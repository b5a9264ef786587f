"""Attention as it was before the Transformer: one head, by which a decoder's state looks at an encoder's states.

Shapes: `B` rows, `T` queries, `S` keys, `A` width in which they are compared.
"""

import torch
from torch import nn

from .beam_search import beside_source


class SingleHeadAttention(nn.Module):
    """
    What the two share: a decoder's states ask, an encoder's states answer. They differ in the similarity alone.

    The map of the keys does not depend on the query (Bahdanau et al. 2015, appendix A.1.2): a decoder that steps
    computes [`project_keys`][SingleHeadAttention.project_keys] once a text and hands it to every call.
    """

    def project_keys(self, keys: torch.Tensor) -> torch.Tensor:
        """From `(B, S, key_size)` keys to what queries are compared with, `(B, S, A)`."""
        return self.k_proj(keys)

    def similarity(self, query: torch.Tensor, projected_keys: torch.Tensor) -> torch.Tensor:
        """From `(B, T, query_size)` queries and `(B, S, A)` projected keys to `(B, T, S)` scores."""
        raise NotImplementedError

    def forward(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor | None = None,
        projected_keys: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            query: `(B, T, query_size)`; or of several rows for each row of keys, neighbors that look at the same.
            keys: `(B, S, key_size)`; not read where `projected_keys` are given.
            values: `(B, S, value_size)`.
            mask: `(B, S)`, true or nonzero where a key may be looked at; `None` for everywhere.
            projected_keys: `project_keys(keys)`, `(B, S, A)`, if it is at hand.

        Returns:
            The context vectors, `(B, T, value_size)`, and the weights, `(B, T, S)`: they sum to one over the keys and
            are zero outside the mask. A row whose mask is empty gets equal weights rather than NaN.
        """
        if projected_keys is None:
            projected_keys = self.project_keys(keys)
        num_rows, num_tokens = query.shape[:2]
        query = beside_source(query, projected_keys.shape[0])
        scores = self.similarity(query, projected_keys)  # (B, T, S)
        if mask is not None:
            scores = scores.masked_fill(~mask.bool().unsqueeze(1), torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=-1)  # (B, T, S)
        context = weights @ values  # (B, T, value_size)
        return tuple(found.reshape(num_rows, num_tokens, found.shape[-1]) for found in (context, weights))


class AdditiveAttention(SingleHeadAttention):
    """
    The similarity of a query `s` and a key `h` is `v . tanh(W s + U h)`: a small net reads them side by side.

    Bahdanau et al. 2015 (arXiv 1409.0473), appendix A.1.2. The sums of all queries with all keys, `(B, T, S, A)`, are
    held at once: with long texts that is the memory to reckon with.

    Args:
        query_size: Width of a query.
        key_size: Width of a key.
        attention_size: Width `A` in which they are compared.
    """

    def __init__(self, query_size: int, key_size: int, attention_size: int):
        super().__init__()
        self.q_proj = nn.Linear(query_size, attention_size, bias=False)  # W
        self.k_proj = nn.Linear(key_size, attention_size, bias=False)  # U
        self.score_vector = nn.Parameter(torch.empty(attention_size))  # v
        nn.init.normal_(self.score_vector, std=attention_size**-0.5)

    def similarity(self, query, projected_keys):
        projected_query = self.q_proj(query)  # (B, T, A)
        compared = torch.tanh(projected_query.unsqueeze(2) + projected_keys.unsqueeze(1))  # (B, T, S, A)
        return compared @ self.score_vector  # (B, T, S)


class MultiplicativeAttention(SingleHeadAttention):
    """
    The similarity of a query `h_t` and a key `h_s` is `h_t . W h_s`: a dot product once the key is mapped.

    Luong et al. 2015 (arXiv 1508.04025), section 3.1, the score called "general".

    Args:
        query_size: Width of a query, in which the two are compared.
        key_size: Width of a key.
    """

    def __init__(self, query_size: int, key_size: int):
        super().__init__()
        self.k_proj = nn.Linear(key_size, query_size, bias=False)  # W

    def similarity(self, query, projected_keys):
        return query @ projected_keys.transpose(1, 2)  # (B, T, S)
