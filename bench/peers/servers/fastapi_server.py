"""FastAPI and torch, as most teams begin: uvicorn fastapi_server:app [--workers N].

MODEL is the artefact's folder, THREADS the number of threads of one operation.
"""
import os

import torch
from fastapi import FastAPI
from pydantic import BaseModel

import common

torch.set_num_threads(int(os.environ["THREADS"]))
contract = common.Contract(os.environ["MODEL"])
model = common.load(os.environ["MODEL"])
app = FastAPI()


class Ask(BaseModel):
    image: str


class Answer(BaseModel):
    prediction: str
    confidence: float


@app.post("/predict")
async def predict(ask: Ask) -> Answer:
    with torch.no_grad():
        logits = model(contract.input(ask.image).unsqueeze(0))
    return Answer(**contract.answers(logits)[0])
