"""Asks queue_driver what is in a store."""

import subprocess


class Checker:
    """One process looks at many stores; one that dies is a finding."""

    def __init__(self, driver):
        self.driver = driver
        self.process = None

    def start(self):
        self.process = subprocess.Popen([self.driver, "check"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def look(self, state_dir, use=False):
        """(items, report, used): report is None if the process died."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        items, report, used = [], None, "ok"
        try:
            self.process.stdin.write(f"{'+' if use else ''}{state_dir}\n")
            self.process.stdin.flush()
            for line in self.process.stdout:
                word = line.split()
                if word[0] == "item":
                    items.append((int(word[1]), *word[2:]))
                elif word[0] == "report":
                    report = line[len("report "):].strip()
                elif word[0] == "used":
                    used = word[1]
                elif word[0] == "done":
                    return items, report, used
        except BrokenPipeError:
            pass
        status = self.process.wait()
        self.process = None
        return items, None, f"died with status {status}"

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


def problems(model, checker, state_dir, use=False):
    items, report, used = checker.look(state_dir, use)
    if report is None:
        return [f"the check {used}"]
    found = model.problems(items, report)
    if used != "ok":
        found.append(f"cannot be used afterwards: {used}")
    return found
