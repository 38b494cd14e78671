"""Real inputs for the models of `catalogue.py`, and what the reference outputs say about them.

Each input is made here or read from the model's own package, so it is the same on every run. Each `…_meaning` reads the
output as a user of the model would; a reference that fails it comes from a wrong input and would prove nothing.
"""

import json

import numpy as np

# ---- magika: of which kind is a file -------------------------------------------------------------------------------


def magika(session, wheel):
    """The first and last 1,024 bytes of a Python file of the package, as magika itself cuts them (mid part unused)."""
    text = wheel.read("magika/magika.py")
    head, tail = text[:4096].lstrip()[:1024], text[-4096:].rstrip()[-1024:]
    return {"bytes": np.frombuffer(head + tail, np.uint8).astype(np.int32)[None]}


def magika_meaning(session, wheel, inputs, outputs):
    labels = json.loads(wheel.read("magika/models/standard_v3_3/config.min.json"))["target_labels_space"]
    scores = outputs["target_label"][0]
    label = labels[scores.argmax()]
    return f"a Python file is of kind {label!r}, score {scores.max():.3f}", label == "python"


# ---- silero: is somebody speaking ----------------------------------------------------------------------------------

RATE = 16_000  # samples a second
CHUNK, OVERLAP = 512, 64  # the net sees 576 samples: the chunk and the end of the one before


def vowel(length, pitch=120):
    """An "a": one pulse for each opening of the vocal cords, through the resonances of an open mouth."""
    sound = [1.0 if i % (RATE // pitch) == 0 else 0.0 for i in range(length)]
    for frequency, width in ((730, 80), (1090, 90), (2440, 120)):
        radius = np.exp(-np.pi * width / RATE)
        one, two = float(2 * radius * np.cos(2 * np.pi * frequency / RATE)), float(-radius * radius)
        for i in range(length):
            sound[i] += one * (sound[i - 1] if i > 0 else 0.0) + two * (sound[i - 2] if i > 1 else 0.0)
    sound = np.array(sound)
    return (sound / np.abs(sound).max() / 2).astype(np.float32)


def silero(session, wheel):
    """The second chunk of a vowel, with the state that the first one left; `sr` is an i64 scalar, if asked for."""
    sound = vowel(OVERLAP + 2 * CHUNK)
    fed = {"input": sound[None, : OVERLAP + CHUNK], "state": np.zeros((2, 1, 128), np.float32)}
    if any(node.name == "sr" for node in session.get_inputs()):
        fed["sr"] = np.array(RATE, np.int64)
    _, state = session.run(["output", "stateN"], fed)
    return fed | {"input": sound[None, CHUNK:], "state": state}


def silero_meaning(session, wheel, inputs, outputs):
    quiet = inputs | {"input": np.zeros((1, OVERLAP + CHUNK), np.float32), "state": np.zeros((2, 1, 128), np.float32)}
    speech, silence = outputs["output"].item(), session.run(["output"], quiet)[0].item()
    return f"a sung a is speech with {speech:.3f}, silence with {silence:.3f}", speech > 0.3 and silence < 0.05


# ---- PP-OCR: lines of text -----------------------------------------------------------------------------------------

TEXT = "REMEX2026"
GLYPHS = {  # seven rows of five bits
    "R": (30, 17, 17, 30, 20, 18, 17),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "X": (17, 17, 10, 4, 10, 17, 17),
    "2": (14, 17, 1, 6, 8, 16, 31),
    "0": (14, 17, 19, 21, 25, 17, 14),
    "6": (14, 16, 16, 30, 17, 17, 14),
}


def ink(text, scale=5):
    """The text as an image, 1 where there is ink, with soft edges, 48 pixels high."""
    bits = [[row >> (4 - x) & 1 for c in text for row in [GLYPHS[c][y]] for x in range(-1, 5)] for y in range(7)]
    line = np.array(bits).repeat(scale, 0).repeat(scale, 1)
    image = np.pad(line, ((6, 7), (12, 12))).astype(np.float32)
    for _ in range(2):
        p = np.pad(image, 1)
        image = (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] + 4 * p[1:-1, 1:-1]) / 8
    return image


def on_paper(image, width):
    """Dark on light in three channels, values -1 to 1, the rest of the width filled with 0 as PP-OCR does."""
    page = np.pad(1 - 2 * image, ((0, 0), (0, width - image.shape[1])))
    return np.repeat(page[None], 3, 0).astype(np.float32)


def ppocr_cls(session, wheel):
    upright = ink(TEXT[:5])
    return {"x": np.stack([on_paper(upright, 192), on_paper(upright[::-1, ::-1], 192)])}


def ppocr_cls_meaning(session, wheel, inputs, outputs):
    (scores,) = outputs.values()
    turned = scores[:, 1]
    return f"upside down: {turned[0]:.3f} upright, {turned[1]:.3f} turned", turned[0] < 0.1 and turned[1] > 0.9


def ppocr_rec(session, wheel):
    return {"x": on_paper(ink(TEXT), 320)[None]}


def ppocr_rec_meaning(session, wheel, inputs, outputs):
    """The best class of each column; repeats count once, class 0 is the gap between letters."""
    letters = [""] + session.get_modelmeta().custom_metadata_map["character"].split("\n") + [" "]
    (scores,) = outputs.values()
    best = scores[0].argmax(1)
    text = "".join(letters[c] for i, c in enumerate(best) if i == 0 or best[i - 1] != c)
    return f"the line {TEXT} is read as {text!r}", text == TEXT


BOX = (slice(96, 144), slice(16, 310))  # where the line lies on the page


def ppocr_det(session, wheel):
    """A page of 320 x 320 with one line of text, normalised as for ImageNet."""
    page = np.zeros((320, 320), np.float32)
    page[BOX] = ink(TEXT)
    mean, spread = (np.array(v, np.float32).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return {"x": ((1 - page[None] - mean) / spread)[None].astype(np.float32)}


def ppocr_det_meaning(session, wheel, inputs, outputs):
    (score,) = outputs.values()
    found = score[0, 0] > 0.3
    inside = found[BOX].sum() / max(1, found.sum())
    return f"text found on {found.sum()} pixels, {inside:.1%} of them on the line", found.sum() > 1000 and inside > 0.95


# ---- MiniLM: sentences as points -----------------------------------------------------------------------------------

SENTENCES = [  # in the vocabulary of bert-base-uncased, between [CLS] and [SEP]
    [101, 1996, 4248, 2829, 4419, 14523, 2058, 1996, 13971, 3899, 102],  # the quick brown fox jumps over the lazy dog
    [101, 2026, 3899, 2003, 10140, 102],  # my dog is cute
    [101, 7592, 2088, 102],  # hello world
]


def minilm(session, wheel):
    longest = max(map(len, SENTENCES))
    ids = np.array([s + [0] * (longest - len(s)) for s in SENTENCES], np.int64)
    return {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}


def minilm_meaning(session, wheel, inputs, outputs):
    mask = inputs["attention_mask"][..., None]
    points = (outputs["last_hidden_state"] * mask).sum(1) / mask.sum(1)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    near, far = points[0] @ points[1], points[0] @ points[2]
    return f"fox and dog: cosine {near:.3f} to another dog, {far:.3f} to hello world", near > far + 0.1
