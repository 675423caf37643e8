"""Run commands of this package in copies of a process that has imported PyTorch.

Importing takes longer than most commands of the tests do. The words, the folder and the standard
streams of a command come through a socket; its exit code goes back.

    python -m tests.helpers.fork_server SOCKET                   # the server, until it is ended
    python tests/helpers/fork_server.py SOCKET predict ...       # a command
"""

import json
import os
import signal
import socket
import sys
import time

STREAMS = (0, 1, 2)
START_SECONDS = 120


def serve(path: str) -> None:
    """Answer commands until the process is ended."""
    import centernet2.builders.detector.predictor_loading
    import centernet2.builders.training.training_setup  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        while True:
            connection, _ = server.accept()
            if os.fork() == 0:
                answer(connection)
            connection.close()


def answer(connection: socket.socket) -> None:
    """Run a command in another copy, send its exit code, and end this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, *_ = socket.recv_fds(connection, 1 << 16, len(STREAMS))
    child = os.fork()
    if child == 0:
        for stream, number in zip(streams, STREAMS, strict=True):
            os.dup2(stream, number)
        run(*json.loads(message))
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def run(folder: str, environment: dict[str, str], words: list[str]) -> None:
    """Run a command and end this process with its exit code."""
    from centernet2.cli import main

    os.chdir(folder)
    os.environ.update(environment)
    sys.stdin = os.fdopen(0, closefd=False)  # the old one remembers whether it can seek
    sys.argv = ["centernet2", *words]
    main()
    sys.exit(0)


def ask(path: str, words: list[str]) -> int:
    """Let the server run a command; return its exit code."""
    message = json.dumps([os.getcwd(), dict(os.environ), words]).encode()
    deadline = time.monotonic() + START_SECONDS
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.1)  # it imports
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        socket.send_fds(client, [message], STREAMS)
        return int(client.recv(16))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
    serve(sys.argv[1])
