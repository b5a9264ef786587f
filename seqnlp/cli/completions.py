"""What a client of OpenAI's completions is answered: texts, whole or as they are written. Needs the extra `serve`."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from fastapi import HTTPException
from fastapi.responses import JSONResponse, StreamingResponse
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.cli.serving.completion import CompletionHandler

from ..demo.writers import end_tokens, text_after
from ..training.integrity import named


GONE: ContextVar[threading.Event] = ContextVar("gone")
"""Whether the client of the request that is being answered has left."""
CONTEXT = 8
"""Tokens of a prompt by which the first ones behind it are read: some tokenizers put no space at a text's start."""


def refusal(why: str, status: int = 400) -> JSONResponse:
    """An error as OpenAI's clients read one."""
    return JSONResponse(_error(why), status_code=status)


class Completions(CompletionHandler):
    """
    Answers requests for texts.

    transformers has its own answers, but for them a seed is set while another text is drawn, a text nobody waits for
    any more is written to its end, and a stream has no `[DONE]`.
    """

    async def handle_request(self, body: dict[str, Any], request_id: str) -> JSONResponse | StreamingResponse:
        """The texts of a request, one for each prompt, in their order."""
        self._validate_request(body)
        model_id, model, processor = self._resolve_model(body)
        tokenizer = getattr(processor, "tokenizer", processor)
        stop = body.get("stop") or []
        stop, gone = [stop] if isinstance(stop, str) else stop, GONE.get()
        texts = []
        for ids in _prompts(body["prompt"], model, tokenizer):
            texts.append(Text(ids, self._how(body, model, len(ids)), stop, tokenizer, gone.is_set))
        head = {
            "id": request_id,
            "object": "text_completion",
            "created": int(time.time()),
            "model": body["model"],
        }

        def write(tell: Callable[[int, str], None] | None = None) -> None:
            for index, text in enumerate(texts):
                text.write(model, body.get("seed"), tell and partial(tell, index))

        thread = self.generation_state.get_manager(model_id)
        if body.get("stream"):
            is_counted = (body.get("stream_options") or {}).get("include_usage")
            parts = _stream(head, texts, write, thread, gone, is_counted)
            return StreamingResponse(parts, media_type="text/event-stream")
        await thread.async_submit(write)
        choices = [_choice(index, text.text, text.finish) for index, text in enumerate(texts)]
        return JSONResponse({**head, "choices": choices, "usage": _usage(texts)})

    def _how(self, body: dict[str, Any], model: PreTrainedModel, length: int) -> GenerationConfig:
        """
        How the text behind a prompt of `length` tokens is written: drawn where a temperature or a `top_p` is asked
        for, which greedy text would pass over, and within the positions of the model.
        """
        # Both would be used at the wrong place: the seed at once, and words of `stop` among tokens.
        how = self._build_generation_config({**body, "seed": None, "stop": None}, model.generation_config)
        longest = getattr(model.config, "max_position_embeddings", None)
        if longest is not None:
            if body.get("max_tokens") is None:
                how.max_new_tokens = min(how.max_new_tokens or longest, max(1, longest - length))
            if length + how.max_new_tokens > longest:
                told = f"The prompt has {length} tokens and max_tokens is {how.max_new_tokens}"
                raise HTTPException(400, f"{told}: the model reads {longest} in all.")
        asked = [body[name] for name in ("temperature", "top_p") if body.get(name) is not None]
        if asked and asked[0] != 0 and body.get("generation_config") is None:
            how.do_sample, how.top_k = True, 0
        return how


class Text(StoppingCriteria):
    """
    One text, as it is written.

    Args:
        ids: The tokens of its prompt.
        how: How it is written.
        stop: Words of which the first one ends it, and is no part of it.
        tokenizer: Of the model.
        is_unwanted: Whether nobody waits for it any more.

    Attributes:
        text: What was written and read.
        num_tokens: How many were written, with the one that ended it.
        finish: `stop` if the model or a word of `stop` ended it, else `length`.
    """

    def __init__(
        self,
        ids: list[int],
        how: GenerationConfig,
        stop: list[str],
        tokenizer: PreTrainedTokenizerBase,
        is_unwanted: Callable[[], bool],
    ):
        self.ids, self.how, self.stop, self.tokenizer, self.is_unwanted = ids, how, stop, tokenizer, is_unwanted
        self.text, self.num_tokens, self.finish = "", 0, "length"
        self.before, self.num_read, self.num_told = ids[-CONTEXT:], 0, 0

    def write(self, model: PreTrainedModel, seed: int | None, tell: Callable[[str], None] | None = None) -> None:
        """
        Write it, on the one thread that draws.

        Args:
            model: What writes it.
            seed: Of what is drawn; a new one if `None`, whatever was drawn before.
            tell: Called with each part of it.
        """
        if self.is_unwanted():
            return
        if seed is None:
            torch.seed()
        else:
            torch.manual_seed(seed)
        self.tell = tell
        inputs = torch.tensor([self.ids], device=model.device)
        found = model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            generation_config=self.how,
            tokenizer=self.tokenizer,
            stopping_criteria=StoppingCriteriaList([self]),
        )
        new = found[0, len(self.ids) :].tolist()
        self._read(new, is_whole=True)
        self.num_tokens = len(new)
        if new and new[-1] in (end_tokens(self.how) or end_tokens(model.generation_config)):
            self.finish = "stop"

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        if len(input_ids) == 1 and (self.tell or self.stop):  # of several beams the best one is read in the end
            self._read(input_ids[0, len(self.ids) :].tolist())
        is_over = self.finish == "stop" or self.is_unwanted()
        return torch.full((len(input_ids),), is_over, dtype=torch.bool, device=input_ids.device)

    def _read(self, new: list[int], is_whole: bool = False) -> None:
        """Read the tokens behind those that were read before, to a word of `stop`, and tell what is certain."""
        if self.finish == "stop":
            return
        unread = new[self.num_read :]
        part = text_after(self.tokenizer, self.before, unread)
        if is_whole or (part and not part.endswith("\ufffd")):  # part of a character
            self.text += part
            self.before, self.num_read = unread or self.before, len(new)
        places = [place for word in self.stop if (place := self.text.find(word)) >= 0]
        if places:
            self.text, self.finish = self.text[: min(places)], "stop"
        begun = (count for word in self.stop for count in range(1, len(word)) if self.text.endswith(word[:count]))
        certain = len(self.text) - (0 if places or is_whole else max(begun, default=0))
        if self.tell and certain > self.num_told:
            self.tell(self.text[self.num_told : certain])
            self.num_told = certain


async def _stream(
    head: dict[str, Any],
    texts: list[Text],
    write: Callable[[Callable[[int, str], None]], None],
    thread: Any,
    gone: threading.Event,
    is_counted: bool,
) -> AsyncIterator[str]:
    """The events of a stream, of which the last one is `[DONE]`."""
    loop, parts = asyncio.get_running_loop(), asyncio.Queue()

    def tell(index: int, part: str) -> None:
        loop.call_soon_threadsafe(parts.put_nowait, (index, part))

    def finish() -> None:
        try:
            write(tell)
            loop.call_soon_threadsafe(parts.put_nowait, None)
        except Exception as error:  # told where it is waited for
            loop.call_soon_threadsafe(parts.put_nowait, error)

    thread.submit(finish)
    try:
        while (part := await parts.get()) is not None:
            if isinstance(part, Exception):
                yield _event(_error(f"This cannot be answered: {named(part)}"))
                return
            yield _event({**head, "choices": [_choice(*part)]})
        for index, text in enumerate(texts):
            yield _event({**head, "choices": [_choice(index, "", text.finish)]})
        if is_counted:
            yield _event({**head, "choices": [], "usage": _usage(texts)})
        yield "data: [DONE]\n\n"
    finally:
        gone.set()


def _prompts(prompt: Any, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The tokens of a prompt, or of each in a list: texts, or tokens themselves."""
    is_several = isinstance(prompt, list) and not isinstance(prompt[0], int)
    found, size = [], model.get_input_embeddings().num_embeddings
    for one in prompt if is_several else [prompt]:
        ids = tokenizer(one, verbose=False)["input_ids"] if isinstance(one, str) else one
        if not ids:
            raise HTTPException(400, f"The tokenizer finds no token in the prompt {one!r}: give a word at least.")
        if wrong := [token for token in ids if not 0 <= token < size]:
            raise HTTPException(400, f"The prompt holds the token {wrong[0]}, and the model knows 0 to {size - 1}.")
        found.append(ids)
    return found


def _choice(index: int, text: str, finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


def _usage(texts: list[Text]) -> dict[str, int]:
    read, written = sum(len(text.ids) for text in texts), sum(text.num_tokens for text in texts)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _error(why: str) -> dict[str, Any]:
    return {"error": {"message": why, "type": "invalid_request_error", "param": None, "code": None}}


def _event(what: dict[str, Any]) -> str:
    return f"data: {json.dumps(what)}\n\n"
