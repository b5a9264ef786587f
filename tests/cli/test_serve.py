"""Language models behind the API of OpenAI's clients: whole, streamed, and for several clients at once."""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from fastapi.testclient import TestClient
from openai import OpenAI
from transformers import GenerationConfig

from seqnlp import (
    RecurrentConfig,
    RecurrentForCausalLM,
    RecurrentForSequenceClassification,
    TransformerDecoderConfig,
    TransformerDecoderForCausalLM,
)
from seqnlp.cli import serve as verb
from seqnlp.cli.completions import Text
from seqnlp.cli.serve import ServeError, check, make_server
from seqnlp.extras import install
from seqnlp.tokenization import train_tokenizer


PROMPTS = ["the c", "a mat", "on", "cats sat"]
NEW = 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Untrained models; what they write is as arbitrary as it is fixed."""
    tokenizer, made = train_tokenizer(["the cats sat on a mat"], "char", 30), {}
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "initializer_range": 1.0,
        **special,
    }
    torch.manual_seed(0)
    for model in (
        RecurrentForCausalLM(RecurrentConfig(cell_type="lstm", **sizes)),
        TransformerDecoderForCausalLM(TransformerDecoderConfig(max_position_embeddings=64, **sizes)),
        RecurrentForSequenceClassification(RecurrentConfig(**sizes)),
    ):
        folder = made[type(model).__name__] = tmp_path_factory.mktemp("served")
        model.eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return tokenizer, made


def greedy(model, tokenizer, prompt):
    inputs = tokenizer(prompt, return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=NEW, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    return tokenizer.decode(written, skip_special_tokens=True), len(written)


def events(answer):
    """What a stream holds, of which `[DONE]` is the last event."""
    *lines, done = answer.text.removesuffix("\n\n").split("\n\n")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert done == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


MODELS = [RecurrentForCausalLM, TransformerDecoderForCausalLM]


@pytest.mark.parametrize("model_class", MODELS, ids=lambda model_class: model_class.__name__)
def test_it_answers_what_generate_writes(folders, model_class):
    tokenizer, made = folders
    folder = str(made[model_class.__name__])
    model = model_class.from_pretrained(folder).eval()
    with TestClient(make_server(folder, "localhost", 8000, "cpu").config.app) as client:

        def ask(**body):
            return client.post("/v1/completions", json={"model": folder, "max_tokens": NEW, "temperature": 0, **body})

        for prompt in PROMPTS:
            text, count = greedy(model, tokenizer, prompt)
            answer = ask(prompt=prompt).json()
            assert answer["choices"][0]["text"] == text
            assert answer["usage"]["completion_tokens"] == count
            assert answer["usage"]["prompt_tokens"] == len(tokenizer(prompt)["input_ids"])
            chunks = [event["choices"][0] for event in events(ask(prompt=prompt, stream=True))]
            assert "".join(chunk["text"] for chunk in chunks) == text
            assert len(chunks) > 2  # as they come
            assert chunks[-1]["finish_reason"] == ("length" if count == NEW else "stop")
        for body in ({"prompt": ""}, {}):
            assert ask(**body).status_code == 400
            assert "Give a prompt" in ask(**body).json()["error"]["message"]
        assert client.post("/v1/completions", content="{").status_code == 400
        assert "header Content-Type" in client.post("/v1/completions", content='{"prompt": "a"}').text
        assert [one["id"] for one in client.get("/v1/models").json()["data"]] == [folder]
        wrong = client.post("/v1/completions", json={"model": "another", "prompt": "a"})
        assert wrong.status_code == 400
        assert "pinned" in wrong.text


def test_what_cannot_be_answered_is_one_line_with_the_status_400(folders):
    _, made = folders
    folder = str(made["RecurrentForCausalLM"])
    with TestClient(make_server(folder, "localhost", 8000, "cpu").config.app) as client:

        def ask(content=None, **body):
            content = content or json.dumps({"model": folder, "max_tokens": 2, "prompt": "the c", **body})
            return client.post("/v1/completions", content=content, headers={"Content-Type": "application/json"})

        for body, told in [
            ({"max_tokens": "many"}, "'many'"),
            ({"max_tokens": -1}, "max_tokens is -1: give a whole number from 1 to"),
            ({"max_tokens": 0, "stream": True}, "max_tokens is 0"),
            ({"max_tokens": 2.7}, "max_tokens is 2.7"),
            ({"max_tokens": True}, "max_tokens is True"),
            ({"stream": "false"}, "stream is 'false': give true or false."),
            ({"stream_options": True}, "stream_options is True"),
            ({"temperature": 1e-320}, "This cannot be answered: "),
            ({"temperature": "hot"}, "'hot'"),
            ({"temperature": -1}, "temperature"),
            ({"seed": 2**70}, "seed is 1180591620717411303424: give a whole number"),
            ({"prompt": "\ud800"}, "This cannot be answered: "),
            ({"prompt": []}, "Give a prompt"),
            ({"prompt": ["the", ""]}, "Give a prompt"),
            ({"prompt": [4, "a"]}, "Give a prompt"),
            ({"prompt": [True]}, "Give a prompt"),
            ({"prompt": [99]}, "The prompt holds the token 99, and the model knows 0 to "),
            ({"n": 2}, "n is 2, and nothing but 1 is known here: leave it out."),
            ({"echo": True}, "echo is True"),
            ({"logprobs": 1}, "logprobs is 1"),
            ({"frequency_penalty": 1}, "frequency_penalty is 1"),
            ({"logit_bias": {"5": 100}}, "logit_bias is {'5': 100}"),
            ({"suffix": " end"}, "suffix is ' end'"),
            ({"temperature": -1, "stream": True}, "temperature is -1: give a number from 0 to 100."),
            ({"top_p": 2}, "top_p is 2: give a number from 0 to 1."),
            ({"stop": ""}, "stop is ''"),
            ({"stop": ["a", ""]}, "stop is ['a', '']"),
            ({"stop": 5}, "stop is 5"),
            ({"content": '{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}"}, "Give a prompt"),
            ({"content": b"\xff\xfe"}, "Give a prompt"),
        ]:
            answer = ask(**body)
            assert answer.status_code == 400, (body, answer.text)
            error = answer.json()["error"]
            assert told in error["message"]
            assert "\n" not in error["message"]
            assert error["type"] == "invalid_request_error"
        assert ask(n=1, best_of=1, echo=False, logprobs=None, presence_penalty=0).status_code == 200
        chat = {"model": folder, "messages": [{"role": "user", "content": "hello"}]}
        assert client.post("/v1/chat/completions", json=chat).status_code == 400
        assert client.get("/v1/nothing").json()["error"]["message"] == "Not Found"


def test_prompt_and_answer_keep_to_the_positions(folders):
    _, made = folders
    folder = str(made["TransformerDecoderForCausalLM"])  # reads 64 tokens; of this tokenizer each is a character
    with TestClient(make_server(folder, "localhost", 8000, "cpu").config.app) as client:

        def ask(length, **body):
            asked = {"model": folder, "prompt": "t" * length, "temperature": 0, **body}
            return client.post("/v1/completions", json=asked)

        assert ask(60, max_tokens=4).json()["usage"]["prompt_tokens"] == 60
        for how in ({}, {"stream": True}):
            refused = ask(60, max_tokens=5, **how)
            assert refused.status_code == 400
            told = "The prompt has 60 tokens and max_tokens is 5: the model reads 64 in all."
            assert refused.json()["error"]["message"] == told
        assert ask(64).status_code == 400
        assert 1 <= ask(60).json()["usage"]["completion_tokens"] <= 4
        assert ask(50, max_tokens=2, stop=[]).json() | {"id": 0, "created": 0} == (
            ask(50, max_tokens=2).json() | {"id": 0, "created": 0}
        )


def test_a_temperature_draws_and_without_one_nothing_is_drawn(folders):
    tokenizer, made = folders
    folder = str(made["RecurrentForCausalLM"])
    model = RecurrentForCausalLM.from_pretrained(folder).eval()
    with TestClient(make_server(folder, "localhost", 8000, "cpu").config.app) as client:

        def texts(**body):
            asked = {"model": folder, "max_tokens": NEW, "prompt": "the c", **body}
            answers = [client.post("/v1/completions", json={**asked, "seed": seed}) for seed in range(6)]
            return [answer.json()["choices"][0]["text"] for answer in answers]

        written = greedy(model, tokenizer, "the c")[0]
        assert texts() == texts(temperature=0) == texts(temperature=0, top_p=0.5) == 6 * [written]
        for how in ({"temperature": 1.0}, {"top_p": 1.0}):
            drawn = texts(**how)
            assert len(set(drawn)) > 3
            assert drawn == texts(**how)  # by the seed
        torch.manual_seed(0)
        inputs = tokenizer("the c", return_tensors="pt")
        one = model.generate(**inputs, max_new_tokens=NEW, do_sample=True, temperature=2.0, top_k=0)
        told = tokenizer.decode(one[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert texts(temperature=2.0)[0] == told


def test_a_seed_draws_the_same_beside_other_clients(folders):
    _, made = folders
    folder = str(made["RecurrentForCausalLM"])
    with TestClient(make_server(folder, "localhost", 8000, "cpu").config.app) as client:

        def ask(seed):
            how = {"temperature": 1 + seed / 8, "max_tokens": 40, "stream": seed % 2 == 1, "seed": seed}
            answer = client.post("/v1/completions", json={"model": folder, "prompt": "the c", **how})
            parts = events(answer) if how["stream"] else [answer.json()]
            return "".join(part["choices"][0]["text"] for part in parts)

        alone = [ask(seed) for seed in range(8)]
        assert len(set(alone)) > 4
        with ThreadPoolExecutor(8) as clients:
            for _ in range(3):
                assert list(clients.map(ask, range(8))) == alone
        unseeded = {"model": folder, "prompt": "the c", "max_tokens": 40, "temperature": 1.0}
        drawn = set()
        for _ in range(4):
            ask(0)  # which leaves no trace
            drawn.add(client.post("/v1/completions", json=unseeded).json()["choices"][0]["text"])
        assert len(drawn) > 1


def test_several_prompts_and_tokens_are_answered_in_their_order(folders):
    """As the client of LangChain asks: it sends a list, also of one prompt."""
    tokenizer, made = folders
    folder = str(made["RecurrentForCausalLM"])
    model = RecurrentForCausalLM.from_pretrained(folder).eval()
    expected = [greedy(model, tokenizer, prompt) for prompt in PROMPTS]
    ids = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    usage = {"prompt_tokens": sum(map(len, ids)), "completion_tokens": sum(count for _, count in expected)}
    usage["total_tokens"] = sum(usage.values())
    with TestClient(make_server(folder, "localhost", 8000, "cpu").config.app) as client:

        def ask(**body):
            return client.post("/v1/completions", json={"model": folder, "max_tokens": NEW, "temperature": 0, **body})

        for prompt in (PROMPTS, ids):
            answer = ask(prompt=prompt).json()
            assert answer["model"] == folder
            assert [(one["index"], one["text"]) for one in answer["choices"]] == [
                (index, text) for index, (text, _) in enumerate(expected)
            ]
            assert answer["usage"] == usage
            *parts, last = events(ask(prompt=prompt, stream=True, stream_options={"include_usage": True}))
            assert (last["choices"], last["usage"]) == ([], usage)
            told = [""] * len(PROMPTS)
            for part in parts:
                told[part["choices"][0]["index"]] += part["choices"][0]["text"]
            assert told == [text for text, _ in expected]
        assert ask(prompt=ids[0]).json()["choices"][0]["text"] == expected[0][0]


def test_a_word_of_stop_ends_a_text_and_is_no_part_of_it(folders):
    tokenizer, made = folders
    folder = str(made["TransformerDecoderForCausalLM"])
    model = TransformerDecoderForCausalLM.from_pretrained(folder).eval()
    text, _ = greedy(model, tokenizer, "the c")
    assert len(text) > 6
    word = text[3:5]  # of two tokens: each is a character
    expected = text[: text.index(word)]
    with TestClient(make_server(folder, "localhost", 8000, "cpu").config.app) as client:

        def ask(**body):
            asked = {"model": folder, "prompt": "the c", "max_tokens": NEW, "temperature": 0, **body}
            return client.post("/v1/completions", json=asked)

        for stop in (word, ["never", word], [text[: text.index(word) + 2] + "never", word]):
            answer = ask(stop=stop).json()
            assert (answer["choices"][0]["text"], answer["choices"][0]["finish_reason"]) == (expected, "stop")
            assert answer["usage"]["completion_tokens"] == len(expected) + 2
            parts = [event["choices"][0] for event in events(ask(stop=stop, stream=True))]
            assert "".join(part["text"] for part in parts) == expected
            assert parts[-1]["finish_reason"] == "stop"
        unfinished = f"{text[-1]}never"  # begun, and not a word of `stop` after all
        parts = events(ask(stop=unfinished, stream=True))
        assert (
            "".join(part["choices"][0]["text"] for part in parts)
            == text
            == ask(stop=unfinished).json()["choices"][0]["text"]
        )


class Written:
    """A model that writes given tokens, whatever it reads."""

    def __init__(self, new, end):
        self.new, self.device = new, torch.device("cpu")
        self.generation_config = GenerationConfig(eos_token_id=end)

    def generate(self, ids, stopping_criteria, **_):
        for token in self.new:
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
            if stopping_criteria(ids, None).all():
                break
        return ids


def write(tokenizer, prompt, new, stop=(), is_streamed=True):
    model, parts = Written(new, tokenizer.eos_token_id), []
    text = Text(tokenizer(prompt)["input_ids"], GenerationConfig(), list(stop), tokenizer, lambda: False)
    text.write(model, 0, parts.append if is_streamed else None)
    return text, parts


@pytest.mark.parametrize("tokenizer_type", ["char", "word", "bpe", "wordpiece", "unigram"])
def test_a_text_goes_on_as_it_stands_behind_its_prompt(tokenizer_type):
    """With the space before it, which some tokenizers decode of a text's middle alone; no character comes in parts."""
    whole = "the cat sat on the mat, über 東京 ✨🎉 the end"
    tokenizer = train_tokenizer([whole, "the cat sat"], tokenizer_type, 400)
    new = tokenizer(whole, add_special_tokens=False)["input_ids"][
        len(tokenizer("the cat", add_special_tokens=False)["input_ids"]) :
    ]
    expected = tokenizer.decode(tokenizer(whole, add_special_tokens=False)["input_ids"], skip_special_tokens=True)
    for is_streamed in (True, False):
        text, parts = write(tokenizer, "the cat", new, is_streamed=is_streamed)
        assert f"the cat{text.text}" == expected
        assert "".join(parts) == (text.text if is_streamed else "")
        assert "\ufffd" not in text.text
        assert text.finish == "length"
        text, _ = write(tokenizer, "the cat", new, ["nd", "mat"], is_streamed=is_streamed)
        assert (f"the cat{text.text}", text.finish) == (expected[: expected.index("mat")], "stop")
    assert len(parts) == 0
    ended, _ = write(tokenizer, "the cat", [*new, tokenizer.eos_token_id])
    assert (ended.finish, ended.num_tokens, f"the cat{ended.text}") == ("stop", len(new) + 1, expected)


def test_what_nobody_waits_for_is_not_written_to_its_end(folders):
    """A client that leaves frees the server, whether it has asked for a stream or not."""
    _, made = folders
    folder = str(made["RecurrentForCausalLM"])
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    server = make_server(folder, "localhost", port, "cpu")
    running = threading.Thread(target=server.run)
    running.start()
    endless = {"eos_token_id": 10**6, "max_new_tokens": 10**6}  # hours
    body = {"model": folder, "prompt": "the c", "generation_config": json.dumps(endless)}
    try:
        while not server.started:
            time.sleep(0.05)
        client = OpenAI(base_url=f"http://localhost:{port}/v1", api_key="none", max_retries=0, timeout=120)
        for is_streamed in (False, True):
            with socket.create_connection(("localhost", port)) as left:
                asked = json.dumps({**body, "stream": is_streamed}).encode()
                left.sendall(
                    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(asked) + asked
                )
                if is_streamed:
                    left.recv(100)
                time.sleep(0.3)
            assert client.completions.create(model=folder, prompt="on", max_tokens=1).usage.completion_tokens == 1
    finally:
        server.should_exit = True
        running.join()


def test_a_compiled_step_serves_the_same(folders, compiled):
    tokenizer, made = folders
    folder = str(made["TransformerDecoderForCausalLM"])
    model = TransformerDecoderForCausalLM.from_pretrained(folder).eval()
    with TestClient(make_server(folder, "localhost", 8000, "cpu", is_compiled=True).config.app) as client:
        for prompt in PROMPTS[:2]:
            asked = {"model": folder, "max_tokens": NEW, "temperature": 0, "prompt": prompt}
            answer = client.post("/v1/completions", json=asked).json()
            assert answer["choices"][0]["text"] == greedy(model, tokenizer, prompt)[0]
    assert compiled == ["asked"]


def test_what_cannot_be_served_is_one_line(folders, tmp_path, monkeypatch):
    _, made = folders
    good = str(made["RecurrentForCausalLM"])
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServeError, match=rf"^--host localhost --port {port}: Address already in use\. Give another"
        ):
            check(good, "localhost", port)
    assert check(good, "localhost", port).model_type == "seqnlp_recurrent"
    with pytest.raises(ServeError, match="is a RecurrentForSequenceClassification, and what can be served"):
        check(str(made["RecurrentForSequenceClassification"]), "localhost", port)
    with pytest.raises(ServeError, match="cannot be read") as raised:
        check(str(tmp_path / "nothing"), "localhost", port)
    assert "\n" not in str(raised.value)
    for left_out, told in (("tokenizer*", "Unrecognized processing class"), ("*.safetensors", "no file named")):
        folder = tmp_path / left_out[:-1].strip("*.")
        shutil.copytree(good, folder, ignore=shutil.ignore_patterns(left_out))
        with pytest.raises(ServeError, match=f"cannot be loaded for --device cpu: .*{told}"):
            make_server(str(folder), "localhost", port, "cpu")
    with pytest.raises(ServeError, match="cannot be loaded for --device gpu: "):
        make_server(good, "localhost", port, "gpu")
    find = importlib.util.find_spec
    monkeypatch.setattr(verb, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    with pytest.raises(ServeError, match=f"^seqnlp serve needs uvicorn: {re.escape(install('serve'))}\\.$"):
        check(good, "localhost", port)


def test_a_process_that_has_imported_nothing_else_finds_the_classes(folders):
    """Which it did not where transformers, being imported, was put into `sys.modules` a second time."""
    _, made = folders
    script = "import sys; from seqnlp.cli.serve import make_server; make_server(sys.argv[1], 'localhost', 8000, 'cpu')"
    subprocess.run([sys.executable, "-c", script, str(made["RecurrentForCausalLM"])], check=True, capture_output=True)


@pytest.mark.long
@pytest.mark.parametrize("model_class", MODELS, ids=lambda model_class: model_class.__name__)
def test_several_clients_of_openai_at_once(folders, model_class):
    """The command as a user starts it; each client gets the answer to its own prompt."""
    tokenizer, made = folders
    folder = str(made[model_class.__name__])
    model = model_class.from_pretrained(folder).eval()
    expected = {prompt: greedy(model, tokenizer, prompt)[0] for prompt in PROMPTS}
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "seqnlp.cli.main", "serve", folder, "--port", str(port), "--device", "cpu"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as server:
        try:
            assert f"http://localhost:{port}/v1/completions" in server.stdout.readline()
            while "Uvicorn running" not in server.stderr.readline():
                assert server.poll() is None
            client = OpenAI(base_url=f"http://localhost:{port}/v1", api_key="none", max_retries=0)

            def ask(number):
                prompt, is_streamed = PROMPTS[number % len(PROMPTS)], number % 2 == 1
                body = {"model": folder, "prompt": prompt, "max_tokens": NEW, "temperature": 0}
                answer = client.completions.create(**body, stream=is_streamed)
                parts = [answer] if not is_streamed else answer
                return prompt, "".join(part.choices[0].text for part in parts)

            with ThreadPoolExecutor(6) as clients:
                for prompt, text in clients.map(ask, range(24)):
                    assert text == expected[prompt]
        finally:
            server.send_signal(signal.SIGINT)
            _, told = server.communicate(timeout=60)
    assert "Traceback" not in told
    assert server.returncode in (0, 130)
