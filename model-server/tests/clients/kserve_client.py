"""The same as triton.py with KServe's client; on its own, because both bring the messages of gRPC.

    kserve_client.py ADDRESS MODEL VERSION
"""
import asyncio

from common import address, check, inputs, model, same
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def kserve(client, target, name):
    check(f"{name}: alive, ready, model ready",
          await client.is_server_live(*target) and await client.is_server_ready(*target)
          and await client.is_model_ready(*target, model))
    for binary in (True, False):
        tensor = InferInput("input", list(inputs.shape), "FP32")
        tensor.set_data_from_numpy(inputs, binary_data=binary)
        request = InferRequest(model, [tensor], request_id="seven")
        answer = await (client.infer(*target, request, model_name=model) if target else client.infer(request))
        same(f"{name} binary={binary}", answer.outputs[0].as_numpy())


async def both():
    await kserve(InferenceRESTClient(RESTConfig(protocol="v2")), [f"http://{address}"], "kserve http")
    await kserve(InferenceGRPCClient(address), [], "kserve grpc")


asyncio.run(both())
