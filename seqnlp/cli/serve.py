"""`seqnlp serve`: a language model behind the API that OpenAI's clients speak, by the server of transformers."""

import json
import socket
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
RANGES = {"temperature": (0, 100), "top_p": (0, 1)}
"""The smallest and the largest number that may be asked for."""


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
    typer.echo(f"{model} answers at http://{host}:{port}/v1/completions; Ctrl-C ends it.")
    if (positions := getattr(config, "max_position_embeddings", None)) is not None:
        typer.echo(f"It reads {positions} tokens, prompt and answer together.")
    make_server(model, host, port, device, compile_generation).run()


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
    """
    import uvicorn
    from fastapi import HTTPException
    from fastapi.responses import JSONResponse
    from transformers.cli.serve import Serve
    from transformers.cli.serving import completion, model_manager

    for name in models.__all__:
        setattr(model_manager.transformers, name, getattr(models, name))
    made: list[uvicorn.Server] = []

    class CompilingManager(model_manager.ModelManager):
        """Of whatever it loads, also where it had dropped the model meanwhile."""

        def load_model_and_processor(self, *args, **kwargs):
            loaded, processor = super().load_model_and_processor(*args, **kwargs)
            if loaded.generation_config.compile_config is None:
                compile_writing(loaded, model)
            return loaded, processor

    class Handler(completion.CompletionHandler):
        """
        Draws tokens where a temperature or `top_p` is asked for, which greedy text would pass over, and keeps to the
        positions of the model.
        """

        def _build_generation_config(self, body, *args, **kwargs):
            how = super()._build_generation_config({**body, "stop": body.get("stop") or None}, *args, **kwargs)
            self._keep_to_positions(body, how)
            asked = [body[name] for name in ("temperature", "top_p") if body.get(name) is not None]
            if asked and asked[0] != 0 and body.get("generation_config") is None:
                how.do_sample, how.top_k = True, 0
            return how

        def _keep_to_positions(self, body, how):
            _, loaded, processor = self._resolve_model(body)
            longest = getattr(loaded.config, "max_position_embeddings", None)
            if longest is None:
                return
            length = len(processor(body["prompt"], verbose=False)["input_ids"])
            if body.get("max_tokens") is None:
                how.max_new_tokens = min(how.max_new_tokens or longest, max(1, longest - length))
            if length + how.max_new_tokens > longest:
                told = f"The prompt has {length} tokens and max_tokens is {how.max_new_tokens}"
                raise HTTPException(400, f"{told}: the model reads {longest} in all.")

    manager = CompilingManager if is_compiled else model_manager.ModelManager
    with (
        # It would run before its caller gets hold of it.
        mock.patch.object(uvicorn.Server, "run", lambda server: made.append(server)),
        mock.patch.object(model_manager, "ModelManager", manager),
        mock.patch.object(completion, "CompletionHandler", Handler),
    ):
        Serve(force_model=model, host=host, port=port, device=device)

    @made[0].config.app.middleware("http")
    async def refuse(request, call_next):
        why = _why_not(await request.body()) if request.url.path == "/v1/completions" else None
        if why is None:
            try:
                return await call_next(request)
            except (ValueError, TypeError, RecursionError) as error:  # of what was asked, e.g. max_tokens "many"
                why = f"This cannot be answered: {named(error)}"
        return JSONResponse({"detail": why}, status_code=400)

    return made[0]


def _why_not(body: bytes) -> str | None:
    """Why a request for a text is refused before the server of transformers reads it; `None` if it is not."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict) or asked.get("prompt") in (None, ""):
        return "Give a prompt, a string that is not empty, in an object of JSON."
    for field, usual in USUAL.items():
        if asked.get(field) not in (None, usual):
            return f"{field} is {asked[field]!r}, and nothing but {usual!r} is known here: leave it out."
    for field, (smallest, largest) in RANGES.items():
        number = asked.get(field)
        if number is not None and not (isinstance(number, int | float) and smallest <= number <= largest):
            return f"{field} is {number!r}: give a number from {smallest} to {largest}."
    stop = asked.get("stop")
    words = [] if stop is None else stop if isinstance(stop, list) else [stop]
    if not all(isinstance(word, str) and word for word in words):
        return f"stop is {stop!r}: give a string that is not empty, or a list of them."
    return None
