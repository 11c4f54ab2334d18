"""What tritonclient says to the model server, by HTTP and by gRPC, and what it makes of its answers.

    triton.py ADDRESS MODEL VERSION

Prints a line for each check; the first that fails ends it with 1.
"""
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from common import address, check, inputs, model, same, version
from tritonclient.utils import InferenceServerException


def triton(client, module, name, forms):
    check(f"{name}: alive, ready, model ready",
          client.is_server_live() and client.is_server_ready()
          and client.is_model_ready(model) and client.is_model_ready(model, version))
    about = client.get_model_metadata(model)
    about = about if isinstance(about, dict) else {"name": about.name, "versions": list(about.versions)}
    check(f"{name}: metadata", (about["name"], about["versions"]) == (model, [version]))
    for form in forms:
        tensor = module.InferInput("input", list(inputs.shape), "FP32")
        tensor.set_data_from_numpy(inputs, **form)
        wanted = [module.InferRequestedOutput("probabilities", **form)]
        for outputs in (None, wanted):
            answer = client.infer(model, [tensor], model_version=version, outputs=outputs, request_id="seven")
            same(f"{name} {form} outputs {'named' if outputs else 'not named'}", answer.as_numpy("probabilities"))
            told = answer.get_response()
            told = told["id"] if isinstance(told, dict) else told.id
            check(f"{name}: the id comes back", told == "seven")
    for wrong, word in (({"model_name": "other"}, "other"), ({"model_name": model, "model_version": "9.9.9"}, "9.9.9")):
        try:
            client.infer(inputs=[tensor], **wrong)
            check(f"{name}: {wrong} is refused", False)
        except InferenceServerException as error:
            check(f"{name}: {wrong} is refused: {error.message()}", word in error.message())


http = triton_http.InferenceServerClient(address)
triton(http, triton_http, "tritonclient http", [{"binary_data": True}, {"binary_data": False}])
grpc = triton_grpc.InferenceServerClient(address)
triton(grpc, triton_grpc, "tritonclient grpc", [{}])


def states(client):
    index = client.get_model_repository_index()
    return [line["state"] for line in index] if isinstance(index, list) else [line.state for line in index.models]


for name, client in (("http", http), ("grpc", grpc)):
    client.unload_model(model)
    check(f"tritonclient {name}: the index says what is unloaded", states(client) == ["UNAVAILABLE"])
    client.load_model(model)
    check(f"tritonclient {name}: and loaded", states(client) == ["READY"])
