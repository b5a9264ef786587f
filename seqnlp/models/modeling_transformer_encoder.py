"""The Transformer encoder alone: masked language models, classifiers of texts and of tokens."""

from torch import nn

from .attention import MultiHeadAttention
from .configuration_transformer_encoder import TransformerEncoderConfig
from .heads import MaskedLanguageModel, SequenceClassifier, TokenClassifier
from .pretrained import AttentionPreTrainedModel
from .transformer_layers import EncoderLayer, EncoderStack, create_norm


class TransformerEncoderPreTrainedModel(AttentionPreTrainedModel):
    """What the encoders share: flags."""

    config: TransformerEncoderConfig
    _no_split_modules = ["EncoderLayer"]
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": EncoderLayer, "attentions": MultiHeadAttention}


class TransformerEncoderModel(EncoderStack, TransformerEncoderPreTrainedModel):
    """
    Embedded tokens through a stack of layers in which each token sees all others.

    Vaswani et al. 2017, the left half of figure 1 (Devlin et al. 2019, arXiv 1810.04805, section 3). Padding anywhere
    changes no valid output.
    """


class TransformerEncoderForMaskedLM(MaskedLanguageModel, TransformerEncoderPreTrainedModel):
    """
    The hidden token at each position (Devlin et al. 2019, section 3.1, task 1), through one more dense layer with GELU
    and a norm, as in BERT's released code.
    """

    _tp_plan = {"lm_head": "colwise_gather_output"}
    _pp_plan = {"lm_head": (["hidden_states"], ["logits"])}

    def __init__(self, config: TransformerEncoderConfig):
        super().__init__(config)
        self.model = TransformerEncoderModel(config)
        self.head_dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.head_norm = create_norm(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def transform(self, hidden_states):
        """The dense layer and its norm."""
        return self.head_norm(nn.functional.gelu(self.head_dense(hidden_states)))


class TransformerEncoderForSequenceClassification(SequenceClassifier, TransformerEncoderPreTrainedModel):
    """
    A label, several labels or a number for a whole text: the states, pooled by `config.pooling`, and a linear map.
    """

    def __init__(self, config: TransformerEncoderConfig):
        super().__init__(config)
        self.model = TransformerEncoderModel(config)
        self.add_classifier(config.hidden_size)
        self.post_init()


class TransformerEncoderForTokenClassification(TokenClassifier, TransformerEncoderPreTrainedModel):
    """A label for every token (Devlin et al. 2019, section 5.3): the encoder and a linear map."""

    def __init__(self, config: TransformerEncoderConfig):
        super().__init__(config)
        self.model = TransformerEncoderModel(config)
        self.add_word_reader(config.hidden_size)
        self.add_classifier(config.hidden_size)
        self.post_init()


__all__ = [
    "TransformerEncoderForMaskedLM",
    "TransformerEncoderForSequenceClassification",
    "TransformerEncoderForTokenClassification",
    "TransformerEncoderModel",
]
