"""A private certificate authority and the certificates of the doors, by the openssl command."""

import os
import subprocess

from .process import WorldError

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def openssl(*args):
    try:
        subprocess.run(["openssl", *args], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise WorldError("openssl is not installed: run tests/interop/install") from error
    except subprocess.CalledProcessError as error:
        raise WorldError(f"openssl {args[0]} failed: {error.stderr.strip()}") from error


class Authority:
    def __init__(self, directory):
        self.directory = directory
        self.certificate = os.path.join(directory, "ca.pem")
        self.key = os.path.join(directory, "ca.key")
        openssl("req", "-x509", *KEY, "-days", "30", "-subj", "/CN=interop test authority",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", self.key, "-out", self.certificate)

    def issue(self, *names):
        """A certificate for the names; returns the paths of chain and key."""
        stem = os.path.join(self.directory, names[0])
        chain, key, request, extension = (stem + end for end in (".pem", ".key", ".csr", ".ext"))
        with open(extension, "w", encoding="ascii") as out:
            out.write("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n")
            out.write("subjectAltName=" + ",".join(f"DNS:{name}" for name in names) + "\n")
        openssl("req", "-new", *KEY, "-subj", f"/CN={names[0]}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-days", "30", "-extfile", extension, "-out", chain)
        return chain, key
