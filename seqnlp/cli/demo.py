"""`seqnlp demo`: a page to try a model on."""

import json
import socket
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from ..demo import DemoError, answerer_for, read_image
from .examples import examples_of
from .models import ModelName, TrustRemoteCode, load_model


FIRST_PORT = 7860
PORTS_TRIED = 100


def demo(
    model: ModelName,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=1, max=65535, help=f"Port of the page; the first free one from {FIRST_PORT} if not given."
        ),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Also give it a public address, through a server of gradio's makers.")
    ] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """
    Open a page to try a model on, on this machine alone unless --share is given. Ctrl-C ends it.

    The examples are rows of the run's validation data where that data can be had.

    Example:

        seqnlp demo outputs/sentiment_analysis-lstm
    """
    port = _free_port(port)
    page = open_page(model, trust_remote_code=trust_remote_code)
    try:
        launch(page, server_name="127.0.0.1", server_port=port, share=share, prevent_thread_lock=True)
        typer.echo(f"Open http://127.0.0.1:{port} in a browser. Ctrl-C ends it.")
        if share:
            typer.echo(f"Anyone may open {page.share_url}")
        page.block_thread()
    except OSError as error:
        raise DemoError(f"The page cannot listen on port {port}: {error}.") from error
    finally:
        page.close(verbose=False)


def open_page(
    source: str, revision: str | None = None, examples: Path | None = None, trust_remote_code: bool = False
) -> Any:
    """
    The page of a model, ready to be launched: what `seqnlp demo` opens, and what a Space runs.

    Args:
        source: A folder, or the id of a model on the Hub.
        revision: Its branch, tag or commit on the Hub.
        examples: A JSON list of what a visitor may click, beside which its images lie; by default rows of the run's
            validation data.
        trust_remote_code: Whether to run code that comes with the model.

    Raises:
        DemoError: If gradio is not installed, or nothing here can ask the model.
    """
    from ..demo.page import build_page  # gradio, which takes seconds to import

    named = load_model(source, trust_remote_code, revision)
    answerer = answerer_for(named)
    if examples is None:
        found, remark = examples_of(named, answerer)
        if remark:
            typer.echo(remark, err=True)
    else:
        found = json.loads(examples.read_text(encoding="utf-8"))
        if answerer.reads == "image":
            found = [read_image(examples.parent / name) for name in found]
        elif answerer.reads == "series":
            found = [np.array(table, dtype=np.float64) for table in found]
    return build_page(answerer, found)


def launch(page: Any, **options: Any) -> None:
    """
    Launch a page in its own look, with nothing fetched from elsewhere.

    Args:
        page: What [`open_page`] gave.
        **options: Those of gradio's `launch`.
    """
    from ..demo.page import LOOK

    page.launch(quiet=True, **LOOK, **options)


def _free_port(port: int | None) -> int:
    """
    The port that was asked for, or the first free one.

    Raises:
        DemoError: If it is taken.
    """
    for tried in [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", tried))
                return tried
            except OSError as error:
                reason = error.strerror
    if port:
        raise DemoError(f"--port {port}: {reason}. Give another, or none for the first free one from {FIRST_PORT}.")
    raise DemoError(f"No port from {FIRST_PORT} to {FIRST_PORT + PORTS_TRIED - 1} is free: give one by --port.")
