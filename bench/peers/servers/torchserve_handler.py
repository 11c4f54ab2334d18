"""The handler of the TorchServe archive; its batches are given and answered as a whole.

The artefact's metadata.json lies beside model.pt in the archive.
"""
import torch
from ts.torch_handler.base_handler import BaseHandler

import common


class Classifier(BaseHandler):
    def initialize(self, context):
        # A worker is a process; there are as many as cores.
        torch.set_num_threads(1)
        folder = context.system_properties["model_dir"]
        self.contract = common.Contract(folder)
        self.model = common.load(folder)
        self.initialized = True

    def handle(self, data, context):
        inputs = [self.contract.input(row["body"]["image"]) for row in data]
        with torch.inference_mode():
            logits = self.model(torch.stack(inputs))
        return self.contract.answers(logits)
