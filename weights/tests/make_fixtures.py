#!/usr/bin/env python3
"""Writes tests/fixtures: files as torch and safetensors write them, and expected.json with what is in them.

Not part of `make test`: it needs `pip install torch==2.13.0 safetensors==0.8.0` (4.6 GB) in a virtual environment.
    python weights/tests/make_fixtures.py
Nets are tiny, so that each file is a few KB. A file that ought to be read names its state in expected.json; the
rest (whole models, TorchScript, globals) are for the tests that say why they are refused.
"""
import argparse
import collections
import json
import os
import pathlib

import numpy as np
import safetensors.torch
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent / "fixtures"
DTYPES = {
    torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64", torch.int8: "I8",
    torch.int16: "I16", torch.int32: "I32", torch.int64: "I64", torch.uint8: "U8", torch.bool: "BOOL",
}
states, files = {}, {}


class Evil:
    """What the tests look for afterwards."""

    def __reduce__(self):
        return os.system, ("touch /tmp/sluice-weights-was-executed",)


class Python2:
    """An OrderedDict, pickled as Python 2 did."""

    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return collections.OrderedDict, ([[key, value] for key, value in self.state.items()],)


class Net(nn.Module):
    """Every kind of layer of a CNN that has a state."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, classes)

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


def train(net):
    """One step, so that running statistics, num_batches_tracked and optimiser states are not what they began as."""
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    adam = torch.optim.Adam(net.parameters(), lr=0.001)
    net.train()
    net(torch.randn(5, 2, 4, 4)).square().sum().backward()
    sgd.step()
    adam.step()
    return sgd, adam


def remember(name, tensors):
    def one(t):
        t = t.detach().contiguous()
        data = t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""
        return {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "data": data.hex(),
                "f32": t.to(torch.float32).numpy().tobytes().hex()}
    states[name] = {k: one(v) for k, v in tensors.items()}


def save(file, what, state=None, **how):
    torch.save(what, HERE / file, **how)
    if state is not None:
        files[file] = state


def containers(net, sgd, adam):
    """One state, in everything that people put it in."""
    state = net.state_dict()
    remember("net", state)
    save("ordered.pth", state, "net")
    save("plain.pth", dict(state), "net")
    save("legacy.pth", state, "net", _use_new_zipfile_serialization=False)
    save("protocol4.pth", state, "net", pickle_protocol=4)
    save("protocol5_legacy.pth", state, "net", pickle_protocol=5, _use_new_zipfile_serialization=False)
    save("python2.pth", Python2(state), "net")
    save("python2_legacy.pth", {"state_dict": Python2(state)}, "net", _use_new_zipfile_serialization=False)
    save("module.pth", nn.DataParallel(net).state_dict(), "net")
    save("compiled.pth", torch.compile(net).state_dict(), "net")
    save("module_compiled.pth", nn.DataParallel(torch.compile(net)).state_dict(), "net")
    both = {"epoch": 3, "best": 0.75, "arch": "net", "state_dict": state, "optimizer": sgd.state_dict(), "done": False,
            "seed": 2**70, "loss": torch.tensor(0.5), "rng": torch.get_rng_state()[:16], "device": torch.device("cpu"),
            "size": torch.Size([2, 4, 4]), "dtype": torch.float32, "history": [(1, 0.5), (2, None)]}
    save("checkpoint.pth", both, "net")
    save("checkpoint_legacy.pth", both, "net", _use_new_zipfile_serialization=False)
    for key in ["model", "model_state_dict", "net", "weights"]:
        save(f"{key}.pth", {key: state, "optimizer_state_dict": adam.state_dict(), "epoch": 1}, "net")
    save("nested.pth", {"model": {"state_dict": nn.DataParallel(net).state_dict(), "epoch": 1}}, "net")
    parameters = collections.OrderedDict(net.named_parameters()) | dict(net.named_buffers())
    save("parameters.pth", parameters, "net")
    save("parameters_legacy.pth", parameters, "net", _use_new_zipfile_serialization=False)
    with_attributes = nn.Parameter(state["fc.bias"].clone())
    with_attributes.no_weight_decay = True
    buffer = nn.Buffer(state["bn.running_mean"].clone())
    save("attributes.pth", {**parameters, "fc.bias": with_attributes, "bn.running_mean": buffer}, "net")
    safetensors.torch.save_file(state, HERE / "net.safetensors", metadata={"format": "pt"})
    files["net.safetensors"] = "net"


def layouts(net):
    """Tensors that are not laid out as they are read."""
    net = net.to(memory_format=torch.channels_last)
    remember("channels_last", net.state_dict())
    assert not net.state_dict()["conv.weight"].is_contiguous()
    save("channels_last.pth", net.state_dict(), "channels_last")
    save("channels_last_legacy.pth", net.state_dict(), "channels_last", _use_new_zipfile_serialization=False)
    base = torch.arange(60, dtype=torch.float32)
    views = {
        "whole": base, "offset": base[17:29], "strided": base[3::7], "matrix": base.view(6, 10),
        "transposed": base.view(6, 10).t(), "block": base.view(6, 10)[1:5:2, 2:9:3],
        "permuted": base.view(3, 4, 5).permute(2, 0, 1), "expanded": base[5:8].view(3, 1).expand(3, 4),
        "one": base[42], "overlapping": base.as_strided((4, 3), (2, 1), 7), "empty": base[:0], "no_rows": base[:0].view(0, 7),
        "unit": base[10:20:2].view(5, 1, 1), "tied": base,
    }
    remember("views", views)
    save("views.pth", views, "views")
    save("views_legacy.pth", views, "views", _use_new_zipfile_serialization=False)


def dtypes():
    every = {name.lower(): torch.tensor([[0, 1, 2], [3, 100, 7]]).to(dtype) for dtype, name in DTYPES.items()}
    every["bool"] = torch.tensor([[True, False, True], [False, False, True]])
    every["f16"] = torch.tensor([0.0, -0.0, 1.5, -65504.0, 6e-8, 6.1e-5, float("inf")], dtype=torch.float16)
    every["bf16"] = torch.tensor([0.0, -1.5, 3e38, 1e-40, float("-inf")], dtype=torch.bfloat16)
    every["f64"] = torch.tensor([1e-3, -1 / 3, 1e300], dtype=torch.float64)
    every["i64"] = torch.tensor([2**63 - 1, -2**63, 5])
    for name in every:
        every[name] = every[name].contiguous()
    remember("dtypes", every)
    save("dtypes.pth", every, "dtypes")
    save("dtypes_legacy.pth", every, "dtypes", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(every, HERE / "dtypes.safetensors")
    files["dtypes.safetensors"] = "dtypes"


def refused(net):
    """What is no state dict, or holds more than one."""
    net = Net()
    save("whole_model.pth", net)
    save("whole_model_legacy.pth", net, _use_new_zipfile_serialization=False)
    save("whole_sequential.pth", nn.Sequential(nn.Linear(2, 2)))
    torch.jit.trace(net.eval(), torch.zeros(1, 2, 4, 4)).save(HERE / "torchscript.pt")
    save("numpy.pth", {"state_dict": net.state_dict(), "best": np.float64(0.5)})
    save("namespace.pth", {"state_dict": net.state_dict(), "args": argparse.Namespace(lr=0.1)})
    save("two.pth", {"model": Net().state_dict(), "net": Net().state_dict()})
    save("no_tensors.pth", {"epoch": 1, "lr": 0.1})
    save("tensor.pth", torch.zeros(2))
    save("not_a_tensor.pth", {"fc.weight": torch.zeros(2), "epoch": 3})
    save("uint16.pth", {"w": torch.zeros(2, dtype=torch.uint16)})
    # The file holds the values before their sign was changed.
    save("negated.pth", {"w": torch.ones(2, dtype=torch.complex64).conj().imag})
    save("complex.pth", {"w": torch.zeros(2, dtype=torch.complex64)})
    save("sparse.pth", {"w": torch.eye(2).to_sparse()})
    save("quantized.pth", {"w": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)})
    save("evil.pth", {"state_dict": net.state_dict(), "x": Evil()})
    save("evil_legacy.pth", {"state_dict": net.state_dict(), "x": Evil()}, _use_new_zipfile_serialization=False)
    safetensors.torch.save_file({"w": torch.zeros(4, dtype=torch.complex64)}, HERE / "complex.safetensors")


def main():
    torch.manual_seed(7)
    HERE.mkdir(exist_ok=True)
    for old in HERE.iterdir():
        old.unlink()
    net = Net()
    sgd, adam = train(net)
    containers(net, sgd, adam)
    layouts(net)
    dtypes()
    refused(net)
    expected = {"torch": torch.__version__, "files": files, "states": states}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


main()
