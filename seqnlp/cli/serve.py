"""`seqnlp serve`: a language model behind the API that OpenAI's clients speak, by the server of transformers."""

import asyncio
import json
import socket
import threading
import time
from importlib.util import find_spec
from typing import Annotated, Any
from unittest import mock

import typer
from transformers import AutoConfig, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from .. import models
from ..extras import install
from ..training.errors import in_one_line
from ..training.integrity import named
from .models import CompileGeneration, compile_writing


PACKAGES = ("fastapi", "uvicorn", "openai")
"""What the server of transformers is made of."""
USUAL = {
    "n": 1,
    "best_of": 1,
    "echo": False,
    "logprobs": False,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": {},
    "suffix": "",
}
"""
What OpenAI's clients may ask for and the server of transformers passes over or takes for something else, with what it
does instead.
"""
RANGES = {
    "temperature": (int | float, 0, 100),
    "top_p": (int | float, 0, 1),
    "max_tokens": (int, 1, 2**31 - 1),
    "seed": (int, -(2**63), 2**63 - 1),
}
"""The kind of number that may be asked for, the smallest and the largest one."""
WATCHED = 0.5
"""Seconds between two looks whether a client still waits."""


class ServeError(ValueError):
    """What cannot be served, or not here; the message says why and what would do."""


def serve(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The folder of a run, or a model on the Hub.")],
    host: Annotated[str, typer.Option("--host", help="The address to listen at; localhost is this machine's.")] = (
        "localhost"
    ),
    port: Annotated[int, typer.Option("--port", help="The port to listen at.", min=1, max=65535)] = 8000,
    device: Annotated[str, typer.Option("--device", help="Where the model computes: auto, cpu, cuda:0.")] = "auto",
    compile_generation: CompileGeneration = False,
) -> None:
    """
    Serve a language model to OpenAI's clients: POST /v1/completions, streamed or whole, for several clients at once.

    A client names the model as it is named here, and begins a text by its prompt: the models that recipes train
    have no chat.

    Example:

        seqnlp serve outputs/language_modeling-lstm --port 8000

        curl localhost:8000/v1/completions -H 'Content-Type: application/json'
        -d '{"model": "outputs/language_modeling-lstm", "prompt": "In the", "max_tokens": 40}'
    """
    config = check(model, host, port)
    server = make_server(model, host, port, device, compile_generation)
    typer.echo(f"{model} answers at http://{host}:{port}/v1/completions; Ctrl-C ends it.")
    if (positions := getattr(config, "max_position_embeddings", None)) is not None:
        typer.echo(f"It reads {positions} tokens, prompt and answer together.")
    server.run()


def check(model: str, host: str, port: int) -> PreTrainedConfig:
    """
    Whether this can be served, before anything is loaded.

    Returns:
        The model's configuration.

    Raises:
        ServeError: For a package that is not installed, a model that is none or writes no text, and a port that is
            taken.
    """
    if missing := [package for package in PACKAGES if find_spec(package) is None]:
        raise ServeError(f"seqnlp serve needs {', '.join(missing)}: {install('serve')}.")
    try:
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ServeError(f"Model {model!r} cannot be read: {in_one_line(error, 300)}") from error
    architecture = (config.architectures or ["model without a class"])[0]
    if architecture not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        raise ServeError(f"Model {model!r} is a {architecture}, and what can be served are language models alone.")
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        reason = error.strerror.split(" (")[0]
        raise ServeError(f"--host {host} --port {port}: {reason}. Give another --port or --host.") from error
    return config


def make_server(model: str, host: str, port: int, device: str, is_compiled: bool = False) -> Any:
    """
    The server of transformers, with the model loaded, as a `uvicorn.Server` that does not run yet.

    With `is_compiled` each text is written by a compiled step. Tokens are drawn where a client gives a temperature
    above 0 or a `top_p`.

    It looks a class up in `transformers` alone, so ours are set there: in the module that it has, since transformers
    puts a second one of that name into `sys.modules` while it is imported. What cannot be answered, such as an empty
    prompt, which has no token to go on from, is told in one line with the status 400.

    Raises:
        ServeError: If the model, its tokenizer or the device cannot be had.
    """
    import uvicorn
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from transformers.cli.serve import Serve
    from transformers.cli.serving import completion, model_manager

    from .completions import GONE, Completions, refusal

    for name in models.__all__:
        setattr(model_manager.transformers, name, getattr(models, name))
    made: list[uvicorn.Server] = []
    started = int(time.time())

    class Manager(model_manager.ModelManager):
        """Lists the model that is served, and compiles what it loads, also where it had dropped that meanwhile."""

        def load_model_and_processor(self, *args, **kwargs):
            loaded, processor = super().load_model_and_processor(*args, **kwargs)
            if is_compiled and loaded.generation_config.compile_config is None:
                compile_writing(loaded, model)
            return loaded, processor

        @staticmethod
        def get_gen_models(cache_dir=None):
            return [{"id": model, "object": "model", "created": started, "owned_by": "seqnlp"}]

    with (
        # It would run before its caller gets hold of it.
        mock.patch.object(uvicorn.Server, "run", lambda server: made.append(server)),
        mock.patch.object(model_manager, "ModelManager", Manager),
        mock.patch.object(completion, "CompletionHandler", Completions),
    ):
        try:
            Serve(force_model=model, host=host, port=port, device=device)
        except (OSError, ValueError, RuntimeError, AssertionError) as error:  # the last of a device that is not there
            raise ServeError(
                f"Model {model!r} cannot be loaded for --device {device}: {in_one_line(error, 300)}"
            ) from error
    app = made[0].config.app

    @app.exception_handler(HTTPException)
    async def tell(request, error):
        return refusal(str(error.detail), error.status_code)

    @app.exception_handler(RequestValidationError)
    async def tell_of_body(request, error):
        return refusal("Give an object of JSON, and the header Content-Type: application/json.")

    @app.middleware("http")
    async def refuse(request, call_next):
        watching = None
        if request.url.path == "/v1/completions":
            if (why := _why_not(await request.body())) is not None:
                return refusal(why)
            GONE.set(threading.Event())
            watching = asyncio.create_task(_watch(request, GONE.get()))
        try:
            return await call_next(request)
        except (ValueError, TypeError, RuntimeError) as error:  # of what was asked, e.g. half a character in a prompt
            return refusal(f"This cannot be answered: {named(error)}")
        finally:
            if watching:
                watching.cancel()

    return made[0]


async def _watch(request: Any, gone: threading.Event) -> None:
    """Note that a client has left before its answer begins; a stream notes it by itself."""
    while not await request.is_disconnected():
        await asyncio.sleep(WATCHED)
    gone.set()


def _why_not(body: bytes) -> str | None:
    """Why a request for a text is refused before the server of transformers reads it; `None` if it is not."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict) or not _is_prompt(asked.get("prompt")):
        return "Give a prompt in an object of JSON: a string that is not empty, tokens, or a list of such prompts."
    for field, usual in USUAL.items():
        if asked.get(field) not in (None, usual):
            return f"{field} is {asked[field]!r}, and nothing but {usual!r} is known here: leave it out."
    for field, (kind, smallest, largest) in RANGES.items():
        number = asked.get(field)
        is_number = isinstance(number, kind) and not isinstance(number, bool)
        if number is not None and not (is_number and smallest <= number <= largest):
            whole = "whole " if kind is int else ""
            return f"{field} is {number!r}: give a {whole}number from {smallest} to {largest}."
    for field, kind, name in (("stream", bool, "true or false"), ("stream_options", dict, "an object")):
        if not isinstance(asked.get(field), kind | None):
            return f"{field} is {asked[field]!r}: give {name}."
    stop = asked.get("stop")
    words = [] if stop is None else stop if isinstance(stop, list) else [stop]
    if not all(isinstance(word, str) and word for word in words):
        return f"stop is {stop!r}: give a string that is not empty, or a list of them."
    return None


def _is_prompt(prompt: Any) -> bool:
    """Whether this is a text, tokens, or a list of either."""
    if not isinstance(prompt, list):
        return isinstance(prompt, str) and prompt != ""
    each = [_is_tokens(one) or (isinstance(one, str) and one != "") for one in prompt]
    return _is_tokens(prompt) or (each != [] and all(each))


def _is_tokens(prompt: Any) -> bool:
    return isinstance(prompt, list) and prompt != [] and all(type(token) is int for token in prompt)
