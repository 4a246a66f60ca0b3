"""What the doors counted: the second witness of every scenario.

The first witness is the client API. A request that reached the other server in any other way than
through both doors would be missing here.
"""

from .process import wait_until


class Figures:
    """One reading of a door's status document."""

    def __init__(self, status):
        self.counters, self.causes, self.gauges = status["counters"], status["causes"], status["gauges"]

    def inbound(self, path_class):
        return self.counters[f"inbound_requests_{path_class}"]

    def outbound(self):
        return self.counters["outbound_requests"]

    def busy(self):
        """The gauges that are not zero, but for those of what stays in memory."""
        return {name: gauge["used"] for name, gauge in self.gauges.items()
                if gauge["used"] and not name.startswith("answers_")}

    def failures(self):
        """{counter: {cause: number}} of what went wrong."""
        return {name: {cause: count for cause, count in causes.items() if count}
                for name, causes in self.causes.items() if any(causes.values())}


def read(domain):
    return Figures(domain.door.status())


class Crossing:
    """with Crossing(source, target): requests of source reach target, through both doors."""

    def __init__(self, source, target, path_class="federation"):
        self.source, self.target, self.path_class = source, target, path_class

    def moved(self):
        """How many requests the two doors counted since the start."""
        return (read(self.source).outbound() - self.sent,
                read(self.target).inbound(self.path_class) - self.received)

    def __enter__(self):
        self.sent, self.received = read(self.source).outbound(), read(self.target).inbound(self.path_class)
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            wait_until(f"both doors to count {self.path_class} requests from {self.source.server_name} "
                       f"to {self.target.server_name} (sent, received: {self.moved()})",
                       lambda: all(count > 0 for count in self.moved()), 5)
