"""LitServe with what its documentation recommends for throughput: batches, and a worker per core.

MODEL is the artefact's folder, PORT where it listens.
"""
import os

import litserve
import torch

import common


class Classifier(litserve.LitAPI):
    def setup(self, device):
        # A worker is a process; there are as many as cores.
        torch.set_num_threads(1)
        self.contract = common.Contract(os.environ["MODEL"])
        self.model = common.load(os.environ["MODEL"])

    def decode_request(self, request):
        return self.contract.input(request["image"])

    def batch(self, inputs):
        return torch.stack(inputs)

    def predict(self, inputs):
        with torch.inference_mode():
            return self.contract.answers(self.model(inputs))

    def unbatch(self, outputs):
        return outputs

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    api = Classifier(max_batch_size=16, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
    port = int(os.environ["PORT"])
    server.run(host="127.0.0.1", port=port, num_api_servers=2, generate_client_file=False, log_level="error")
