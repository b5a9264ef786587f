"""Additive and multiplicative attention against their equations."""

import pytest
import torch

from seqnlp import RecurrentSeq2SeqConfig, RecurrentSeq2SeqForConditionalGeneration
from seqnlp.models.single_head_attention import AdditiveAttention, MultiplicativeAttention


both_attentions = pytest.mark.parametrize("attention_class", [AdditiveAttention, MultiplicativeAttention])


def reference_attention(attention, query, keys, values, mask):
    """One query and one key at a time, from the papers' equations."""
    contexts, alignments = [], []
    for row in range(query.shape[0]):
        for s in query[row]:
            scores = []
            for h in keys[row][mask[row]]:
                if isinstance(attention, AdditiveAttention):  # Bahdanau et al. 2015, appendix A.1.2
                    w, u, v = attention.q_proj.weight, attention.k_proj.weight, attention.score_vector
                    scores.append(v.dot(torch.tanh(w @ s + u @ h)))
                else:  # Luong et al. 2015, equation 8, "general"
                    scores.append(s @ (attention.k_proj.weight @ h))
            exponentials = torch.stack(scores).exp()
            weights = exponentials / exponentials.sum()
            contexts.append(sum(a * h for a, h in zip(weights, values[row][mask[row]], strict=True)))
            alignments.append(torch.zeros(keys.shape[1], dtype=keys.dtype).masked_scatter(mask[row], weights))
    shape = query.shape[:2]
    return torch.stack(contexts).view(*shape, -1), torch.stack(alignments).view(*shape, -1)


@both_attentions
def test_attention_equals_the_reference(attention_class):
    sizes = (5, 7, 4) if attention_class is AdditiveAttention else (5, 7)
    attention = attention_class(*sizes).double()
    query, keys, values = (torch.randn(2, n, w, dtype=torch.double) for n, w in ((3, 5), (6, 7), (6, 8)))
    mask = torch.tensor([[1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]]).bool()
    tensors = [query, keys, values, *attention.parameters()]
    for tensor in tensors:
        tensor.requires_grad_()
    context_weights, alignment_weights = torch.randn(2, 3, 8).double(), torch.randn(2, 3, 6).double()

    results = []
    for attend in (attention, lambda *args: reference_attention(attention, *args)):
        context, weights = attend(query, keys, values, mask)
        loss = (context * context_weights).sum() + (weights * alignment_weights).sum()
        results.append((context, weights, *torch.autograd.grad(loss, tensors)))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)
    projected = attention(query, None, values, mask, projected_keys=attention.project_keys(keys))
    torch.testing.assert_close(projected[0], results[0][0])


@both_attentions
def test_a_source_without_a_valid_token_gives_no_nan(attention_class):
    attention = attention_class(4, 4, 4) if attention_class is AdditiveAttention else attention_class(4, 4)
    query = torch.randn(1, 2, 4, requires_grad=True)
    context, weights = attention(query, torch.randn(1, 3, 4), torch.zeros(1, 3, 4), torch.zeros(1, 3))
    assert (context == 0).all()
    torch.testing.assert_close(weights, torch.full((1, 2, 3), 1 / 3))
    context.sum().backward()
    assert query.grad.isfinite().all()


def test_with_attention_and_feeding_it_equals_the_equations_of_the_paper():
    config = RecurrentSeq2SeqConfig(
        vocab_size=30, hidden_size=12, cell_type="elman", attention_type="multiplicative", input_feeding=True
    )
    model = RecurrentSeq2SeqForConditionalGeneration(config).double()
    decoder, ids, target_ids = model.model.decoder, torch.randint(30, (3, 6)), torch.randint(30, (3, 7))
    mask = torch.tensor([[0, 0, 0, 0, 1, 1], [1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]]).bool()
    encoded = model.model.encoder(ids, mask)
    cell = decoder.layers[0].forward_cell
    hidden = torch.tanh(decoder.bridge.projs[0][0](encoded.final_state[:, 0, 0]))
    vector, expected = torch.zeros(3, 12).double(), []
    for token in target_ids.T:
        fed = torch.cat([model.model.encoder.embed_tokens(token), vector], dim=-1)  # Luong et al. 2015, section 3.3
        hidden = torch.tanh(cell.input_proj(fed) + cell.recurrent_proj(hidden))
        source = encoded.last_hidden_state
        context, _ = reference_attention(decoder.attention, hidden.unsqueeze(1), source, source, mask)
        vector = torch.tanh(torch.cat([context[:, 0], hidden], -1) @ decoder.attentional_proj.weight.T)  # equation 5
        expected.append(model.lm_head(vector))
    logits = model(ids, attention_mask=mask, decoder_input_ids=target_ids).logits
    torch.testing.assert_close(logits, torch.stack(expected, dim=1))
