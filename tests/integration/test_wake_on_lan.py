"""Magic packets as they arrive at a sleeping machine, in a network made for the test.

The router has two networks; the homeserver is on the first. Asleep means: nobody answers for its address,
so that nothing but a broadcast can reach its network card.
"""

import os
import queue
import threading
import time

import pytest

from support.door import executable
from support.namespace import Network, NoNamespaces
from support.process import Failure, wait_until

MAC = "02:00:00:77:01:20"
HOME, OTHER = "10.77.1.20", "10.77.2.20"
BROADCAST = b"\xff" * 6
ANSWER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("10.77.1.20", 8008), Handler).serve_forever()
"""


class Driver:
    """tests/integration/sleeper_driver.c"""

    def __init__(self, namespace, *arguments):
        program = os.path.join(os.path.dirname(executable()), "tests", "sleeper_driver")
        if not os.access(program, os.X_OK):
            raise Failure(f"no sleeper_driver at {program}: build the tests")
        self.child = namespace.start([program, f"{HOME}:8008", MAC, *arguments])
        self.states, self.answers = [], queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            if line.startswith("state "):
                self.states.append(line.split()[1:])
            else:
                self.answers.put(line)

    def say(self, command):
        self.child.stdin.write(command + "\n")
        self.child.stdin.flush()
        assert self.answers.get(timeout=10) == "ok\n"

    def until(self, *state):
        wait_until(" ".join(state), lambda: [*state] in self.states)

    def stop(self):
        self.child.stdin.close()
        assert self.child.wait(timeout=20) == 0


def ours(frames):
    """ARP and IPv4; the kernel's own IPv6 is not of interest."""
    return [(at, frame) for at, frame in frames if frame[12:14] in (b"\x08\x00", b"\x08\x06")]


def packets_of(frames):
    """The UDP ones."""
    return [(at, frame) for at, frame in ours(frames) if frame[13] == 0 and frame[23] == 17]


def ports_of(frames, destination):
    """Where they went, after a look at every byte that matters."""
    ports = []
    for _, frame in packets_of(frames):
        head = 14 + 4 * (frame[14] & 15)
        assert frame[:6] == BROADCAST
        assert ".".join(str(part) for part in frame[30:34]) == destination
        assert frame[head + 8:] == b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) * 16
        ports.append(int.from_bytes(frame[head + 2:head + 4], "big"))
    return ports


class Home:
    def __init__(self, network):
        self.router, self.nas, self.other = (network.namespace(name)
                                             for name in ("router", "nas", "other"))
        network.cable((self.router, "lan", "10.77.1.1/24", None), (self.nas, "eth0", None, MAC))
        network.cable((self.router, "guests", "10.77.2.1/24", None),
                      (self.other, "eth0", f"{OTHER}/24", None))
        self.at_nas, self.at_other = self.nas.capture("eth0"), self.other.capture("eth0")

    def switch_on(self):
        self.nas.ip("address", "add", f"{HOME}/24", "dev", "eth0")
        self.homeserver = self.nas.start(["python3", "-c", ANSWER])

    def switch_off(self):
        self.homeserver.kill()
        self.homeserver.wait()
        self.nas.ip("address", "flush", "dev", "eth0")

    def packets(self):
        return ports_of(self.at_nas.take(), "10.77.1.255")


@pytest.fixture
def home():
    with Network() as network:
        try:
            made = Home(network)
        except NoNamespaces as error:
            pytest.skip(str(error))
        yield made


def collect(take, count):
    """At least so many."""
    got = []

    def enough():
        got.extend(take())
        return len(got) >= count
    wait_until(f"{count} packets", enough)
    return got


def test_packets_reach_a_sleeping_machine(home):
    driver = Driver(home.router)
    driver.until("asleep", "refused")
    driver.say("wish media")    # not worth it
    driver.say("wish nothing")  # nobody signed it
    for _ in range(50):
        driver.say("wish nothing")
    assert home.packets() == []
    for _ in range(50):         # many want it: one round
        driver.say("wish message")
    driver.until("waking", "message")
    ports = collect(home.packets, 6)
    home.switch_on()
    driver.until("awake", "handed-over")
    driver.stop()
    assert ports + home.packets() == [9, 7] * 3
    assert ports_of(home.at_other.take(), "") == []  # the other network hears nothing


def test_packets_are_a_second_apart_and_end(home):
    driver = Driver(home.router)
    driver.until("asleep", "refused")
    driver.say("order")
    frames = []
    wait_until("three packets", lambda: frames.extend(home.at_nas.take()) or len(packets_of(frames)) >= 6)
    times = [at for at, _ in packets_of(frames)]
    assert times[-1] - times[0] > 1.5
    home.switch_on()
    driver.until("awake", "handed-over")
    driver.stop()
    assert home.packets() == []


def test_no_packets_while_it_goes_down(home):
    """It says that it sleeps, and somebody wants it at once: a machine on its way down hears nothing."""
    home.switch_on()
    driver = Driver(home.router)
    driver.until("awake", "handed-over")
    began = time.time()
    driver.say("sleeps")
    driver.say("wish keys")
    driver.until("waking", "keys")
    home.switch_off()
    frames = []
    wait_until("a packet", lambda: frames.extend(home.at_nas.take()) or packets_of(frames), seconds=30)
    assert packets_of(frames)[0][0] - began > 9.5
    home.switch_on()
    driver.until("draining", "answered")
    driver.stop()


def test_an_announced_sleep_is_not_disturbed(home):
    home.switch_on()
    driver = Driver(home.router)
    driver.until("awake", "handed-over")
    driver.say("sleeps")
    driver.until("asleep", "announced")
    home.switch_off()
    wait_until("the last of it", lambda: not ours(home.at_nas.take()), every=1)
    heard = []
    with pytest.raises(Failure):  # three intervals of probes, and not even a question for its address
        wait_until("a frame", lambda: heard.extend(ours(home.at_nas.take())) or heard, seconds=3)
    driver.stop()


def test_another_address_is_configured(home):
    driver = Driver(home.router, "10.77.2.255")
    driver.until("asleep", "refused")
    driver.say("wish keys")
    assert collect(lambda: ports_of(home.at_other.take(), "10.77.2.255"), 2)[:2] == [9, 7]
    assert home.packets() == []
    driver.stop()
