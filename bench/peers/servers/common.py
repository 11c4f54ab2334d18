"""What the peers share: an artefact's contract, obeyed with PIL and numpy as a team would write it, and its model.

They are given the same TorchScript file and the same image bytes as model-server, and answer with a class and its
probability.
"""
import base64
import io
import json
import pathlib

import numpy as np
import torch
from PIL import Image


class Contract:
    """`metadata.json`: size, scale, mean and deviation of inputs, names of classes."""

    def __init__(self, folder):
        metadata = json.loads((pathlib.Path(folder) / "metadata.json").read_text())
        self.classes = metadata["classes"]
        told = metadata["preprocessing"]
        assert told["resize"] == "bilinear" and metadata["output"] == "logits"
        self.size = (told["width"], told["height"])
        mean, std = (np.asarray(told[name], dtype=np.float32) for name in ("mean", "std"))
        self.factor, self.offset = np.float32(told["scale"]) / std, mean / std

    def input(self, text):
        """A tensor of channels, height and width, of an image in base64."""
        image = Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB")
        if image.size != self.size:
            # Antialiased where it shrinks.
            image = image.resize(self.size, Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.float32) * self.factor - self.offset
        return torch.from_numpy(pixels.transpose(2, 0, 1))

    def answers(self, logits):
        """An answer for each image of a batch."""
        probabilities, best = torch.softmax(logits, 1).max(1)
        pairs = zip(best.tolist(), probabilities.tolist())
        return [{"prediction": self.classes[i], "confidence": p} for i, p in pairs]


def load(folder):
    """The model as it was written, ready to be called."""
    return torch.jit.load(pathlib.Path(folder) / "model.pt", map_location="cpu").eval()
