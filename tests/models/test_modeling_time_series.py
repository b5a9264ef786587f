"""Both heads for time series: roll-out, gaps, padding, loss, learning, saving, publishing, refusals."""

import pytest
import torch
from transformers import AutoModelForTimeSeriesPrediction, Trainer, TrainingArguments
from transformers.models.auto import modeling_auto

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForTimeSeriesPrediction,
    RecurrentModel,
    TransformerDecoderConfig,
    TransformerDecoderForTimeSeriesPrediction,
    TransformerDecoderModel,
)
from seqnlp.models.time_series import carry_forward, prediction_targets


ARCHITECTURES = ("elman", "gru", "lstm", "transformer")
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)
two_architectures = pytest.mark.parametrize("architecture", ["lstm", "transformer"])


def model_of(architecture, **fields):
    fields = {"input_size": 2, "hidden_size": 16, "num_hidden_layers": 2, "prediction_length": 4, **fields}
    if architecture == "transformer":
        config = TransformerDecoderConfig(**{"num_attention_heads": 2, "initializer_range": 0.3, **fields})
        return TransformerDecoderForTimeSeriesPrediction(config).eval()
    return RecurrentForTimeSeriesPrediction(RecurrentConfig(cell_type=architecture, **fields)).eval()


def series(*shape):
    return torch.randn(*shape).cumsum(dim=1)


@every_architecture
def test_a_roll_out_is_one_step_after_another(architecture):
    model = model_of(architecture, input_mean=[3.0, -1.0], input_scale=[2.0, 0.5])
    past = series(3, 7, 2)
    values = past
    for _ in range(4):  # without a cache: the whole series anew each time
        step = model(values, prediction_length=1).prediction_outputs
        values = torch.cat([values, step], dim=1)
    torch.testing.assert_close(model(past).prediction_outputs, values[:, 7:], rtol=1e-4, atol=1e-5)
    # Beside the loss the prediction is still one from the past alone.
    outputs = model(past, future_values=series(3, 4, 2))
    torch.testing.assert_close(outputs.prediction_outputs, values[:, 7:], rtol=1e-4, atol=1e-5)
    assert model(past, prediction_length=9).prediction_outputs.shape == (3, 9, 2)


@every_architecture
def test_padding_in_front_changes_nothing(architecture):
    model = model_of(architecture)
    past, future = series(3, 5, 2), series(3, 4, 2)
    padded = torch.cat([torch.full((3, 3, 2), float("nan")), past], dim=1)
    observed = ~padded.isnan()
    alone, among = model(past, future_values=future), model(padded, observed, future)
    torch.testing.assert_close(alone.prediction_outputs, among.prediction_outputs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone.loss, among.loss)
    assert model(padded, torch.zeros_like(observed)).prediction_outputs.isfinite().all()


@every_architecture
def test_what_was_not_observed_is_not_read(architecture):
    model = model_of(architecture)
    past, future = series(3, 6, 2), series(3, 4, 2)
    observed, future_observed = torch.ones_like(past), torch.ones_like(future)
    observed[0, 2, 0] = observed[1, 3:5] = observed[2, -2:] = future_observed[0, 1, 1] = 0
    other, other_future = past.where(observed.bool(), 1e3), future.where(future_observed.bool(), float("nan"))
    expected = model(past, observed, future, future_observed)
    got = model(other, observed, other_future, future_observed)
    assert torch.equal(expected.prediction_outputs, got.prediction_outputs)
    assert torch.equal(expected.loss, got.loss)
    # A gap is not padding: time has passed.
    without_gap = model(torch.cat([past[1:2, :3], past[1:2, 5:]], dim=1)).prediction_outputs
    assert not torch.allclose(got.prediction_outputs[1:2], without_gap, atol=1e-3)


def test_values_are_carried_forward_and_targets_begin_with_the_series():
    values = torch.tensor([[9.0, 1.0, 9.0, 4.0]]).unsqueeze(-1)
    observed = torch.tensor([[False, True, False, True]]).unsqueeze(-1)
    assert carry_forward(values, observed).flatten().tolist() == [0, 1, 1, 4]
    assert prediction_targets(observed).flatten().tolist() == [False, False, True]


@two_architectures
def test_the_loss_is_the_squared_error_of_each_next_normalized_value(architecture):
    mean, std = torch.tensor([3.0, -1.0]), torch.tensor([2.0, 0.5])
    model = model_of(architecture, input_mean=mean.tolist(), input_scale=std.tolist())
    past, future = series(3, 5, 2), series(3, 3, 2)
    observed = torch.rand(3, 5, 2) > 0.3
    whole, seen = torch.cat([past, future], 1), torch.cat([observed, torch.ones_like(future, dtype=torch.bool)], 1)
    squares, count = 0, 0
    for step in range(1, 8):
        if step > 1 or observed[:, 0].any():
            predicted = model(whole[:, :step], seen[:, :step], prediction_length=1).prediction_outputs[:, 0]
            begun = seen[:, :step].flatten(1).any(dim=1)
            targets = seen[:, step] & begun[:, None]
            squares += (((predicted - whole[:, step]) / std)[targets] ** 2).sum()
            count += targets.sum()
    loss = model(past, observed, future).loss
    torch.testing.assert_close(loss, squares / count, rtol=1e-4, atol=1e-5)
    assert count == prediction_targets(seen).sum()
    torch.testing.assert_close(model(past, observed, future, num_items_in_batch=5 * count).loss, loss / 5)


@every_architecture
def test_saved_and_loaded_by_the_auto_class_to_the_bit(architecture, tmp_path):
    model = model_of(architecture, input_mean=[1.0, 2.0], input_scale=[3.0, 4.0])
    assert not any("embed_tokens" in name for name in model.state_dict())
    assert (
        modeling_auto.MODEL_FOR_TIME_SERIES_PREDICTION_MAPPING_NAMES[model.config.model_type] == type(model).__name__
    )
    model.save_pretrained(tmp_path)
    loaded = AutoModelForTimeSeriesPrediction.from_pretrained(tmp_path).eval()
    assert type(loaded) is type(model)
    past = series(2, 6, 2)
    assert torch.equal(model(past).prediction_outputs, loaded(past).prediction_outputs)
    base = type(model.model).from_pretrained(tmp_path)
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, model.model.state_dict()[name]), name


@two_architectures
def test_gradient_checkpointing_gives_the_same_gradients(architecture):
    model = model_of(architecture).train()
    past, future = series(2, 5, 2), series(2, 3, 2)

    def gradients():
        model.zero_grad()
        model(past, future_values=future).loss.backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    plain = gradients()
    model.activation_checkpointing_enable()
    for name, gradient in gradients().items():
        torch.testing.assert_close(gradient, plain[name])


@two_architectures
def test_hidden_states_and_half_precision(architecture):
    model = model_of(architecture)
    past = series(2, 5, 2)
    states = model(past, output_hidden_states=True).hidden_states
    assert [tuple(state.shape) for state in states] == [(2, 5, 16)] * 3
    expected = model(past).prediction_outputs
    torch.testing.assert_close(model.to(torch.bfloat16)(past).prediction_outputs, expected, rtol=0.1, atol=0.1)


@two_architectures
def test_trainer_learns_a_wave_that_the_last_value_does_not_tell(architecture, tmp_path):
    start = torch.rand(64, 1) * 6.28
    waves = torch.sin(start + 0.4 * torch.arange(24)).unsqueeze(-1)
    data = [{"past_values": wave[:16], "future_values": wave[16:]} for wave in waves]
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=150,
        per_device_train_batch_size=64,
        learning_rate=0.01,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    fields = {"initializer_range": 0.02} if architecture == "transformer" else {}
    trainer = Trainer(
        model=model_of(architecture, input_size=1, **fields),
        args=arguments,
        train_dataset=data[:48],
        eval_dataset=data,
    )
    trainer.train()
    model = trainer.model.eval()
    with torch.no_grad():
        outputs = model(waves[48:, :16], prediction_length=8)
    error = (outputs.prediction_outputs - waves[48:, 16:]).abs().mean()
    baseline = (waves[48:, 15:16] - waves[48:, 16:]).abs().mean()
    assert error < 0.25 * baseline


def test_published_code_loads_where_seqnlp_cannot_be_imported(run_without_seqnlp, tmp_path):
    past = series(2, 6, 2)
    expected = []
    for architecture in ("gru", "transformer"):
        model = model_of(architecture)
        classes = type(model), type(model.config)
        classes[0].register_for_auto_class("AutoModelForTimeSeriesPrediction")
        classes[1].register_for_auto_class()
        try:
            model.save_pretrained(tmp_path / architecture)
        finally:
            classes[0]._auto_class = classes[1]._auto_class = None
        expected.append(model(past).prediction_outputs)
    torch.save({"past": past, "expected": expected}, tmp_path / "expected.pt")
    run_without_seqnlp(f"""
        import torch
        from transformers import AutoModelForTimeSeriesPrediction
        saved = torch.load({str(tmp_path / "expected.pt")!r})
        for architecture, expected in zip(("gru", "transformer"), saved["expected"]):
            folder = {str(tmp_path)!r} + "/" + architecture
            model = AutoModelForTimeSeriesPrediction.from_pretrained(folder, trust_remote_code=True).eval()
            torch.testing.assert_close(model(saved["past"]).prediction_outputs, expected)  # threads may differ
    """)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_size": 0}, "input_size=0 must be at least 1"),
        ({"prediction_length": 0}, "prediction_length=0 must be at least 1"),
        ({"input_mean": [1.0]}, r"input_mean=\[1.0\] has 1 numbers, and input_size=2"),
        ({"input_scale": [1.0, 0.0]}, r"input_scale=\[1.0, 0.0\] must be above 0"),
        ({"input_size": None}, "needs input_size"),
    ],
)
@two_architectures
def test_configurations_that_mean_nothing_are_refused(architecture, fields, message):
    with pytest.raises(Exception, match=message):
        model_of(architecture, **fields)


@two_architectures
def test_whole_numbers_are_read_as_numbers(architecture):
    model = model_of(architecture, input_mean=[3.7, -1.2], input_scale=[2.5, 0.5])
    past, future = torch.randint(9, (3, 6, 2)), torch.randint(9, (3, 2, 2))
    found, expected = model(past, future_values=future), model(past.float(), future_values=future.float())
    assert torch.equal(found.prediction_outputs, expected.prediction_outputs)
    assert torch.equal(found.loss, expected.loss)


@two_architectures
def test_wrong_calls_are_refused_with_the_reason(architecture):
    model = model_of(architecture)
    with pytest.raises(ValueError, match=r"past_values of shape \(2, 5, 3\) are not .* input_size=2 channels"):
        model(torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match="future_observed_mask of shape"):
        model(torch.zeros(2, 5, 2), future_values=torch.zeros(2, 2, 2), future_observed_mask=torch.ones(2, 2))
    with pytest.raises(ValueError, match="has no embeddings for input_ids"):
        model.model(torch.zeros(2, 5, dtype=torch.long))
    model.train().activation_checkpointing_enable()
    with pytest.raises(ValueError, match="nothing is kept of the tokens or steps before"):
        model(torch.zeros(2, 5, 2))


def test_a_bidirectional_net_cannot_predict():
    with pytest.raises(ValueError, match="cannot be bidirectional"):
        model_of("gru", bidirectional=True)


def test_models_of_text_keep_their_embeddings():
    for base in (RecurrentModel(RecurrentConfig(vocab_size=9)), TransformerDecoderModel(TransformerDecoderConfig())):
        assert base.get_input_embeddings() is base.embed_tokens
    assert RecurrentForCausalLM(RecurrentConfig(vocab_size=9)).config.input_size is None
