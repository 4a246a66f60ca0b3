"""Starts the world and keeps it until Ctrl-C: PYTHONPATH=tests python3 -m interop"""

import signal
import sys
import threading

from .world import World, WorldError


def main():
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        with World(log=lambda line: print(line, flush=True)) as world:
            for domain in world.domains:
                print(f"{domain.server_name}: https://{domain.matrix_host} at {domain.address}, "
                      f"logs in {domain.directory}", flush=True)
            ended.wait()
    except WorldError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
