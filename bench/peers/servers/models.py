"""Writes what `bench server` measures with: python models.py DIGITS PHOTOS OUT.

DIGITS is an artefact that `model-server train` wrote, PHOTOS a folder with china.jpg and flower.jpg of scikit-learn.

    OUT/cifar      3 convolutions with batch norm, 2 linear layers, 0.62 million parameters, 32x32 pixels
    OUT/resnet18   ResNet-18 of torchvision, 224x224 pixels
    OUT/*.jsonl    bodies of requests: tiles of the photos as PNG of 32x32 and as JPEG of 224x224 pixels

Weights are random, but seeded. What they would be after a training changes neither speed nor anything else that is
measured; answers must only differ from image to image, so that a wrong one is seen. To this end batch norms have seen
the photos, and logits are spread. Tiles on which a model hesitates between two classes are left out, and those of which it
says something else once all pixels are a little brighter, as they are from one JPEG decoder to another: random weights
answer to that with more than trained ones do. What is really done in another way moves answers by far more.
"""
import base64
import io
import json
import pathlib
import sys

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

import common

TILES = 32
# Tiles to choose from.
LOOKED_AT = 640
SIDE = 224
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Of logits, over images.
SPREAD = 2.0
# Least distance of the two most probable classes.
MARGIN = 0.2
# Most that a probability may move when each of the 256 levels of a pixel is one higher.
MOVE = 0.015


def cifar():
    def block(inputs, outputs):
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(
        *block(3, 32), *block(32, 64), *block(64, 128), nn.Flatten(),
        nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, len(CLASSES)),
    )


def tiles(photos, random):
    """Parts of the photos, larger and smaller ones, for ever."""
    # Without what else lies in the files: a colour profile would be as large as a small image.
    images = [Image.fromarray(np.asarray(Image.open(photos / name))) for name in ("china.jpg", "flower.jpg")]
    while True:
        image = images[random.integers(len(images))]
        side = int(random.integers(SIDE, min(image.size)))
        left, top = (int(random.integers(length - side + 1)) for length in image.size)
        yield image.crop((left, top, left + side, top + side))


def encoded(tile, side, form, **settings):
    """A tile of this size as base64."""
    content = io.BytesIO()
    tile.resize((side, side), Image.Resampling.LANCZOS).save(content, form, **settings)
    return base64.b64encode(content.getvalue()).decode()


def settle(net, inputs):
    """Lets batch norms see inputs, and spreads the logits of the last layer."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        net.train()(inputs)
        logits = net.eval()(inputs)
        factor = SPREAD / logits.std(0)
        last.weight *= factor[:, None]
        last.bias.copy_((last.bias - logits.mean(0)) * factor)


def artefact(folder, net, name, side, inputs, digits):
    """A complete artefact; its reference profile is empty."""
    folder.mkdir(parents=True)
    metadata = {
        "version": "1.0.0", "architecture": name, "classes": CLASSES, "output": "logits",
        "preprocessing": {"width": side, "height": side, "channels": 3, "scale": 1 / 255, "mean": MEAN, "std": STD,
                          "resize": "bilinear"},
        "training": {"dataDigest": "0" * 64, "images": 0, "seed": 0, "epochs": 0, "batchSize": 0, "learningRate": 0,
                     "shift": 0, "folds": 0, "heldOutAccuracy": 0, "testAccuracy": 0},
    }
    reference = json.loads((digits / "reference.json").read_text())
    reference |= {
        "version": "1.0.0", "images": 0, "features": [[0] * len(feature) for feature in reference["features"]],
        "moreFeatures": {},
        "confidence": [0] * len(reference["confidence"]), "classes": [{"class": c, "count": 0} for c in CLASSES],
    }
    for file, content in (("metadata.json", metadata), ("reference.json", reference)):
        (folder / file).write_text(json.dumps(content) + "\n")
    contract = common.Contract(folder)
    inputs = torch.stack([contract.input(text) for text in inputs])
    settle(net, inputs)
    torch.jit.trace(net, inputs[:2]).save(folder / "model.pt")


def clear(folder, texts):
    """Of which images the model is sure."""
    contract, model = common.Contract(folder), common.load(folder)
    level = torch.from_numpy(contract.factor)[:, None, None]
    with torch.no_grad():
        inputs = torch.stack([contract.input(text) for text in texts])
        said, brighter = (torch.cat([torch.softmax(model(some), 1) for some in it.split(32)]) for it in (inputs, inputs + level))
    two = said.topk(2).values
    return ((two[:, 0] - two[:, 1] >= MARGIN) & ((said - brighter).abs().amax(1) <= MOVE)).numpy()


def main(digits, photos, out):
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    source = tiles(photos, random)
    some = [tile for tile, _ in zip(source, range(LOOKED_AT))]
    small = [encoded(tile, 32, "PNG") for tile in some]
    large = [encoded(tile, SIDE, "JPEG", quality=90) for tile in some]
    artefact(out / "cifar", cifar(), "cifar-cnn", 32, small, digits)
    resnet = torchvision.models.resnet18(num_classes=len(CLASSES))
    artefact(out / "resnet18", resnet, "resnet18", SIDE, large[:64], digits)
    # A model of small inputs is asked about large images too.
    asked = [(out / "cifar", small), (digits, small), (out / "cifar", large), (digits, large), (out / "resnet18", large)]
    sure = np.all([clear(folder, texts) for folder, texts in asked], axis=0)
    assert sure.sum() >= TILES, f"only {sure.sum()} tiles of {len(some)} are clear to all models"
    for file, texts in (("png-32.jsonl", small), ("jpeg-224.jsonl", large)):
        chosen = [text for text, is_sure in zip(texts, sure) if is_sure][:TILES]
        (out / file).write_text("".join(json.dumps({"image": text}) + "\n" for text in chosen))


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
