"""Commands without the six seconds of importing PyTorch and fairseq: a server forks for each.

A fork holds what a fresh Python would have after these imports, none of our modules among them. It
gets the arguments, the folder, the environment and the open files of the client, and ends with its
status; it is killed when the client is. The client is this file run by ``python -S``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

IMPORTED = (
    *("fairseq.checkpoint_utils", "fairseq.data.data_utils_fast", "fairseq.models.transformer"),
    *("fairseq.options", "fairseq.quantization_utils", "fairseq.sequence_generator"),
    *("fairseq.tasks.translation", "fairseq.trainer", "hydra.experimental", "markdown_it"),
    *("matplotlib.figure", "sacrebleu.significance", "sacremoses"),
    "torch._dynamo",  # which PyTorch imports for the first optimizer
)


def ask(address: str, arguments: list[str]) -> int:
    """Has the server run ``python ARGUMENTS`` as this process would; returns its exit status."""
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [b"."], [0, 1, 2])
        server.sendall(json.dumps(request).encode())
        server.shutdown(socket.SHUT_WR)
        return int(server.makefile().read() or 1)


def serve(address: str) -> None:
    """Answers clients until it is killed, or who started it is: then its input ends."""
    import gc
    from importlib import import_module

    for name in IMPORTED:
        import_module(name)
    _compose_once()
    # The forks need not look for garbage in what is here.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            if sys.stdin in select.select([listener, sys.stdin], [], [])[0]:
                os.killpg(0, signal.SIGKILL)
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(client)
                os._exit(0)
            client.close()


def _compose_once() -> None:
    """The forks need not parse fairseq's defaults anew."""
    import quick_hydra
    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    quick_hydra.install()
    train = options.get_training_parser(), ["data", "--arch", "transformer"]
    generate = options.get_generation_parser(), ["data"]
    for parser, words in (train, generate):
        convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, words))


def _answer(client: socket.socket) -> None:
    """Runs a command for a client, in a process of its own."""
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    request = json.loads(client.makefile().read())
    child = os.fork()
    if child == 0:
        client.close()
        _become(request, files)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(client, select.POLLHUP | select.POLLERR)
    if all(file != ended for file, _ in poll.poll()):
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    client.sendall(str(status if status >= 0 else 128 - status).encode())


def _become(request: dict, files: list[int]) -> None:
    """Turns this fork into ``python -m MODULE ...`` or ``python FILE ...``; does not return."""
    import logging
    import runpy

    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    logging.root.handlers.clear()
    sys.executable = os.environ["WARM_PYTHON"]
    sys.path[0:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, 1 if number == 2 else -1, closefd=False)
        for number, mode in enumerate("rww")
    )
    first, *rest = request["arguments"]
    status = 0
    try:
        if first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [first, *rest]
            sys.path.insert(0, os.path.dirname(os.path.realpath(first)))
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
