"""What a model did at a validation is shown below its scores, and on TensorBoard."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_runs import make_loop


def test_a_sample_is_shown_and_told_to_tensorboard(tmp_path, capsys):
    def evaluate(loop):
        loop.run.sample = f"after step {loop.step} <b>"
        return {"loss": 1.0}

    run, loop = make_loop(tmp_path, evaluate=evaluate, num_train_epochs=2, report_to="tensorboard")
    loop.train()
    run.finish()
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for step in (9, 18):
        place = lines.index(f"epoch {step / 9:.2f}, step {step}: validation loss 1.0000")
        assert f"after step {step} <b>" in lines[place + 1 : place + 4]
    folder = next((tmp_path / "logs").glob("**/events.out.tfevents*")).parent
    events = EventAccumulator(str(folder))
    events.Reload()
    told = events.Tensors("validation_sample/text_summary")
    assert [event.step for event in told] == [9, 18]
    assert told[1].tensor_proto.string_val[0] == b"```\nafter step 18 <b>\n```"
