#!/usr/bin/env python3
"""Stands in for the program `remex` in test_models.py: copies the reference outputs, or does what FAKE_FAULT says."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

FAULT = os.environ.get("FAKE_FAULT", "")


def option(name):
    return [value for flag, value in zip(sys.argv, sys.argv[1:], strict=False) if flag == name]


def serve():
    signal.signal(signal.SIGTERM, signal.SIG_IGN if FAULT == "deaf" else lambda *_: sys.exit(0))
    (address,) = option("--listen")
    if FAULT == "no start":
        sys.exit("the address is taken")
    if address.startswith("unix:"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address[len("unix:") :])
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        address = "tcp://127.0.0.1:0" if FAULT == "port 0" else f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.listen()
    print(f"listening on {address}", flush=True)
    while True:
        connection, _ = listener.accept()
        if FAULT == "worker dies":
            os._exit(9)
        connection.close()


def dial(address):
    """Connects, and waits for the worker to hang up, so that one that dies has died before the run ends."""
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address[len("unix:") :])
    else:
        host, port = address[len("tcp://") :].split(":")
        connection = socket.create_connection((host, int(port)))
    with connection:
        connection.recv(1)


def run():
    import numpy as np  # not above: a worker starts faster without it

    model = Path(sys.argv[2])
    (addresses,), (out,) = option("--connect"), option("--out")
    for address in addresses.split(","):
        dial(address)
    entry = next(
        e for e in json.loads((model.parent.parent / "models.json").read_text()) if e["name"] == model.parent.name
    )
    given = dict(value.split("=", 1) for value in option("--input"))
    if (
        given.keys() != entry["inputs"].keys()
        or not all(map(os.path.isfile, given.values()))
        or len(addresses.split(",")) != 2
    ):
        sys.exit(f"wrong arguments: {sys.argv}")
    if FAULT == "run fails":
        sys.exit("the model has an operator that is not known: Foo")
    Path(out).mkdir(parents=True)
    for i, (name, file) in enumerate(entry["outputs"].items()):
        value = np.load(model.parent.parent / file)
        if i == 0 and FAULT == "value":
            value.flat[-1] += 1
        if i == 0 and FAULT == "dtype":
            value = value.astype(np.float64)
        if i == 0 and FAULT == "shape":
            value = value[None]
        if i == 0 and FAULT == "missing":
            continue
        np.save(
            Path(out) / ("".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name) + ".npy"),
            value,
        )
    if FAULT == "extra":
        np.save(Path(out) / "more.npy", np.zeros(1))
    if FAULT == "no npy":
        next(Path(out).iterdir()).write_bytes(b"\x93NUMPY\x01\x00\xff")


if __name__ == "__main__":
    {"serve": serve, "run": run}[sys.argv[1]]()
