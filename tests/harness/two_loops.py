"""`python -m tests.harness.two_loops PORT --fd FD`: one process, and an ASGI server in two threads.

Each SIGTERM stops one of them: first that of the descriptor, and then that of the port.
"""

import signal
import sys
import threading

import uvicorn

from tests.harness.memory_site import application


def main(port: str, _: str, descriptor: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    configurations = [
        uvicorn.Config(application, fd=int(descriptor), log_level="warning"),
        uvicorn.Config(application, port=int(port), log_level="warning"),
    ]
    servers = [uvicorn.Server(configuration) for configuration in configurations]
    threads = [threading.Thread(target=server.run) for server in servers]
    for thread in threads:
        thread.start()
    for server, thread in zip(servers, threads, strict=True):
        signal.sigwait({signal.SIGTERM})
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
