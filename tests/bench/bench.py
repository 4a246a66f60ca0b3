"""Measures doorstep, nginx and HAProxy side by side; see scripts/bench --help.

One row is one kind of work. Each round gives the same work to each server in turn, in rotating
order, and reads the processor time the server's own threads used for it; the median of the rounds
counts. Nothing passes or fails on a figure: only a failed request or a missing figure does.
"""
import argparse
import fcntl
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DIR = ROOT / "build" / "bench"
DOORSTEP = Path(os.environ.get("DOORSTEP", ROOT / "build" / "release" / "doorstep"))
KIB, MIB, GB = 1024, 1024 * 1024, 1e9
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[-1], CORES[0]
ORDER = ["doorstep", "nginx", "haproxy"]


class Failure(Exception):
    """Something that makes the whole run worthless; the text is for the user."""


# --- processes ---------------------------------------------------------------------------------

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command, core, **kwargs):
    return subprocess.Popen(["taskset", "-c", str(core), *map(str, command)], **kwargs)


def stop(process):
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Server:
    """One server under test, on its core, with its meters."""

    def __init__(self, name, upstream, memory_class="512"):
        self.name, self.port = name, free_port()
        template = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg",
                    "doorstep": "doorstep.uci"}[name]
        config = DIR / template
        text = (HERE / (template + ".in")).read_text()
        for key, value in {"DIR": DIR, "PORT": self.port, "UPSTREAM": upstream,
                           "CLASS": memory_class}.items():
            text = text.replace(f"@{key}@", str(value))
        config.write_text(text)
        command = {"nginx": ["nginx", "-p", DIR, "-c", config],
                   "haproxy": ["haproxy", "-db", "-f", config],
                   "doorstep": [DOORSTEP, "serve", "--config", config]}[name]
        self.log = DIR / f"{name}.log"
        with open(self.log, "w") as log:
            self.process = start(command, SERVER_CORE, stdout=log, stderr=log)
        self.await_port()

    def await_port(self):
        for _ in range(100):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        stop(self.process)
        raise Failure(f"{self.name} does not start: {self.log.read_text()[-500:]}")

    def cpu_s(self):
        """Processor time of all threads, user and system, in seconds."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9

    def private(self, *kinds):
        """Bytes of memory that no other process shares."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return sum(int(re.search(rf"Private_{k}:\s+(\d+)", text)[1]) * KIB
                   for k in kinds or ("Clean", "Dirty"))

    def high_water(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * KIB


class Load:
    """A run of tests/bench/load.c: ready after the warm-up, then go(), then close()."""

    def __init__(self, server, mode, count, warm, connections, tls="1.3", size=0, stall_ms=0):
        self.server = server
        self.process = start([DIR / "load", server.port, mode, count, warm, connections, tls, size,
                              stall_ms], LOAD_CORE, text=True, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        self.expect("ready\n")

    def expect(self, line=None):
        got = self.process.stdout.readline()
        if not got or (line and got != line):
            stop(self.process)
            end = self.server.process.poll()
            raise Failure(f"{self.server.name}: the load generator gave up, see above; the server "
                          f"{'runs' if end is None else f'ended with {end}'}, "
                          f"its last words: {self.server.log.read_text()[-500:] or 'none'}")
        return got

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        result = json.loads(self.expect())
        if result["failed"]:
            raise Failure(f"{self.server.name}: {result['failed']} requests failed")
        return result

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise Failure(f"{self.server.name}: the load generator reports a failure, see above")


# --- rows --------------------------------------------------------------------------------------

class Work:
    """A row that is measured as processor time per unit of work, in rounds."""

    def __init__(self, key, title, figure, mode, count, warm=0, connections=16, **load):
        self.key, self.title, self.figure = key, title, figure
        self.mode, self.count, self.warm, self.connections = mode, count, warm, connections
        self.load = load

    def measure(self, server, quick):
        less = 10 if quick else 1
        count, warm = self.count // less, max(self.connections, self.warm // less)
        load = Load(server, self.mode, count, warm, self.connections, **self.load)
        before = server.cpu_s()
        result = load.go()
        used = server.cpu_s() - before
        load.close()
        return self.figure.of(used, result), used / result["seconds"], result


class Figure:
    """How processor time and a load's result become the figure of a row."""

    def __init__(self, digits, of):
        self.digits, self.of = digits, of


US_EACH = Figure(1, lambda used, result: used * 1e6 / result["done"])
S_PER_GB = Figure(3, lambda used, result: used * GB / result["bytes"])
PER_S = Figure(0, lambda used, result: result["done"] / used)

BULK = 16 * MIB
STREAM = 3200 * 64 * KIB        # 200 MB and a little, in whole blocks of the upstream
WORK = [
    Work("get", "GET, CPU us", US_EACH, "get", 20000, 2000),
    Work("get_single", "  one connection, CPU us", US_EACH, "get", 5000, 500, connections=1),
    Work("get_tls12", "  over TLS 1.2, CPU us", US_EACH, "get", 20000, 2000, tls="1.2"),
    Work("put", "PUT of 4 KB, CPU us", US_EACH, "put", 20000, 2000),
    Work("bulk_length", "download, CPU s per GB", S_PER_GB, "length", 20, connections=4, size=BULK),
    Work("bulk_chunked", "  chunked, CPU s per GB", S_PER_GB, "chunked", 20, connections=4,
         size=BULK),
    Work("handshakes", "full handshakes per CPU s", PER_S, "handshake", 1000, 100),
    Work("handshakes_tls12", "  TLS 1.2, per CPU s", PER_S, "handshake", 1000, 100, tls="1.2"),
]
MEMORY = {      # key: (title, unit in bytes, digits)
    "private_start": ("private memory at start, KiB", KIB, 0),
    "private_dirty_start": ("  of that written to, KiB", KIB, 0),
    "per_idle": ("per idle TLS connection, KiB", KIB, 2),
    "stream_peak": ("peak private, 200 MB stream, KiB", KIB, 0),
    "stream_growth": ("  growth over start, KiB", KIB, 0),
    "stream_hwm": ("  VmHWM, KiB", KIB, 0),
}


def idle_memory(name, upstream):
    """Private memory at start, and what each of a thousand idle connections adds."""
    server = Server(name, upstream)
    try:
        time.sleep(1)
        figures = {"private_start": server.private(),
                   "private_dirty_start": server.private("Dirty")}
        load = Load(server, "idle", 999, 1, 8)
        before = server.private()
        load.go()
        time.sleep(1.5)
        figures["per_idle"] = (server.private() - before) / 999
        load.close()
        return figures
    finally:
        stop(server.process)


def stream_memory(name, upstream):
    """The peak while 200 MB pass through to a reader that stalls for a second first."""
    server = Server(name, upstream, memory_class="64")
    peak, done = [0], threading.Event()

    def sample():
        while not done.wait(0.01):
            peak[0] = max(peak[0], server.private())
    try:
        time.sleep(0.5)
        load = Load(server, "length", 1, 0, 1, size=STREAM, stall_ms=1000)
        begin = server.private()
        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            load.go()
        finally:
            done.set()
            sampler.join()
        load.close()
        return {"stream_peak": peak[0], "stream_growth": peak[0] - begin,
                "stream_hwm": server.high_water()}
    finally:
        stop(server.process)


def spread(values):
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def measure_memory(names, upstream, say):
    figures = {}
    for name in names:
        say(f"memory of {name}")
        figures[name] = {**idle_memory(name, upstream), **stream_memory(name, upstream)}
    return {key: {n: spread([figures[n][key]]) for n in names} for key in MEMORY}


def measure_work(work, names, upstream, rounds, quick, say):
    """All rows in WORK; the servers run side by side, the work goes to one at a time."""
    servers, rows = {}, {}
    try:
        for name in names:
            servers[name] = Server(name, upstream)
        for row in work:
            figures, busy = {n: [] for n in names}, {n: [] for n in names}
            for turn in range(rounds):
                say(f"{row.title.strip()}, round {turn + 1} of {rounds}")
                k = turn % len(names)
                for name in names[k:] + names[:k]:
                    figure, share, result = row.measure(servers[name], quick)
                    figures[name].append(figure)
                    busy[name].append(share)
            rows[row.key] = {n: {**spread(figures[n]), "core_busy": statistics.median(busy[n]),
                                 "cipher": result["cipher"]} for n in names}
    finally:
        for server in servers.values():
            stop(server.process)
    return rows


# --- the report --------------------------------------------------------------------------------

def versions(names):
    commands = {"nginx": ["nginx", "-v"], "haproxy": ["haproxy", "-v"],
                "doorstep": [DOORSTEP, "--version"]}
    found = {}
    for name in names:
        done = subprocess.run(commands[name], capture_output=True, text=True)
        found[name] = (done.stdout + done.stderr).strip().splitlines()[0]
    return found


def cell(row, unit, digits):
    median, low, high = (row[k] / unit for k in ("median", "low", "high"))
    span = "" if low == high else f" ({low:.{digits}f}-{high:.{digits}f})"
    return f"{median:.{digits}f}{span}".rjust(22)


def ratio(row, other):
    return (f"{row['doorstep']['median'] / row[other]['median']:.2f}"
            if row[other]["median"] > 0 else "-").rjust(12)


def table(rows, work, names):
    others = [n for n in names if n != "doorstep"] if "doorstep" in names else []
    lines = [" " * 34 + "".join(n.rjust(22) for n in names) +
             "".join(f"to {n}".rjust(12) for n in others)]
    shown = [(r.key, r.title, 1, r.figure.digits) for r in work]
    for key, title, unit, digits in shown + [(k, *v) for k, v in MEMORY.items() if k in rows]:
        lines.append(title.ljust(34) + "".join(cell(rows[key][n], unit, digits) for n in names) +
                     "".join(ratio(rows[key], n) for n in others))
    return "\n".join(lines)


def set_up():
    DIR.mkdir(parents=True, exist_ok=True)
    # OpenSSL goes into the load generator: a library in memory twice would not count as private.
    openssl = ["-Wl,-Bstatic", "-lssl", "-lcrypto", "-Wl,-Bdynamic"]
    for name, libraries in {"upstream": [], "load": openssl}.items():
        subprocess.run(["cc", "-std=c11", "-O2", "-Wall", "-Wextra", "-o", DIR / name,
                        HERE / f"{name}.c", *libraries], check=True)
    cert, key = DIR / "cert.pem", DIR / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                    "/CN=socialnetwork24.com", "-addext", "subjectAltName=DNS:socialnetwork24.com",
                    "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
    (DIR / "haproxy.pem").write_text(cert.read_text() + key.read_text())
    shutil.rmtree(DIR / "doorstep", ignore_errors=True)
    (DIR / "doorstep").mkdir()


def lock():
    """Two runs at once would spoil each other's figures: one waits."""
    DIR.mkdir(parents=True, exist_ok=True)
    held = open(DIR / "lock", "w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waiting for another run to end", flush=True)
        fcntl.flock(held, fcntl.LOCK_EX)
    return held


def start_upstream():
    port = free_port()
    process = start([DIR / "upstream", port], LOAD_CORE, stdout=subprocess.PIPE, text=True)
    if process.stdout.readline() != "ready\n":
        raise Failure("the benchmark's homeserver does not start")
    return process, port


def arguments():
    keys = [r.key for r in WORK] + ["memory"]
    p = argparse.ArgumentParser(prog="scripts/bench", description="see scripts/bench --help")
    p.add_argument("--quick", action="store_true", help="little work, one round")
    p.add_argument("--rounds", type=int, help="rounds per row, default 5")
    p.add_argument("--rows", default=",".join(keys), help="only these, by comma")
    p.add_argument("--servers", default=",".join(ORDER), help="only these, by comma")
    args = p.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 5)
    args.rows, args.servers = args.rows.split(","), args.servers.split(",")
    unknown = set(args.rows) - set(keys) | set(args.servers) - set(ORDER)
    if unknown:
        p.error(f"unknown: {', '.join(sorted(unknown))}; "
                f"rows: {', '.join(keys)}; servers: {', '.join(ORDER)}")
    return args


def main():
    args = arguments()
    work = [r for r in WORK if r.key in args.rows]
    names = [n for n in ORDER if n in args.servers]
    missing = "doorstep" in names and not DOORSTEP.exists()
    if missing:
        print(f"{DOORSTEP} does not exist: measuring the others alone", flush=True)
        names.remove("doorstep")
    held = lock()
    begin = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - begin:4.0f} s] {text}", flush=True)

    set_up()
    upstream, port = start_upstream()
    try:
        rows = measure_work(work, names, port, args.rounds, args.quick, say)
        if "memory" in args.rows:
            rows.update(measure_memory(names, port, say))
    finally:
        stop(upstream)
    result = {"versions": versions(names), "machine": platform.machine(), "cores": len(CORES),
              "quick": args.quick, "rounds": args.rounds, "rows": rows}
    (DIR / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    ciphers = {c["cipher"] for row in rows.values() for c in row.values() if "cipher" in c}
    print()
    print("\n".join([*result["versions"].values(), *sorted(ciphers)]))
    print(f"median (lowest-highest) of {args.rounds} round(s); one worker, ECDSA P-256 certificate")
    print(table(rows, work, names))
    held.close()
    return 1 if missing else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"bench: {failure}")
