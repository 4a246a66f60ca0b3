"""A private certificate authority and its certificates, good and bad, made by the openssl command."""

import datetime
import os
import subprocess
from dataclasses import dataclass

CONFIG = """
[ca]
default_ca = self
[self]
dir = {directory}
new_certs_dir = {directory}
database = {directory}/index.txt
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""
EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
RSA_KEY = ["-newkey", "rsa:2048", "-nodes"]


def openssl(*args):
    done = subprocess.run(["openssl", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr.strip()}")


def asn1_time(days):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now + datetime.timedelta(days=days)).strftime("%Y%m%d%H%M%SZ")


@dataclass(frozen=True)
class Certificate:
    chain: str
    key: str


class Authority:
    """Issues certificates into its directory; `file` is what those who trust it need."""

    def __init__(self, directory, name="doorstep test authority"):
        os.makedirs(directory, exist_ok=True)
        self.directory = directory
        self.file = os.path.join(directory, "ca.pem")
        self.key = os.path.join(directory, "ca.key")
        self.config = os.path.join(directory, "ca.conf")
        self.issued = 0
        with open(self.config, "w", encoding="ascii") as out:
            out.write(CONFIG.format(directory=directory))
        with open(os.path.join(directory, "index.txt"), "w", encoding="ascii"):
            pass
        openssl("req", "-x509", *EC_KEY, "-days", "3650", "-subj", f"/CN={name}",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", self.key, "-out", self.file)

    def issue(self, *names, addresses=(), common_name=None, days=(-1, 30), rsa=False):
        """A certificate for names and IP addresses; without either it has a common name alone."""
        self.issued += 1
        common_name = common_name or (names or addresses or ("nobody",))[0]
        label = common_name.replace("*", "any").replace(":", "_")
        stem = os.path.join(self.directory, f"{self.issued}-{label}")
        sans = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
        with open(stem + ".ext", "w", encoding="ascii") as out:
            out.write("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n")
            if sans:
                out.write("subjectAltName=" + ",".join(sans) + "\n")
        openssl("req", "-new", *(RSA_KEY if rsa else EC_KEY), "-subj", f"/CN={common_name[:64]}",
                "-keyout", stem + ".key", "-out", stem + ".csr")
        openssl("ca", "-batch", "-notext", "-config", self.config, "-in", stem + ".csr",
                "-cert", self.file, "-keyfile", self.key, "-extfile", stem + ".ext",
                "-startdate", asn1_time(days[0]), "-enddate", asn1_time(days[1]),
                "-out", stem + ".pem")
        return Certificate(stem + ".pem", stem + ".key")

    def issue_expired(self, *names):
        return self.issue(*names, days=(-30, -1))

    def issue_future(self, *names):
        return self.issue(*names, days=(10, 30))

    def issue_common_name_only(self, name):
        return self.issue(common_name=name)
