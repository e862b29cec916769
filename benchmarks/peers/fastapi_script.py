"""The script that the service replaces, written anew from the description of its API.

One process; a request is decoded, resized and classified in its handler, in eager fp32; then the
statistics of its grey values become a row of a CSV file.
"""

import csv
import os
import sys
from datetime import UTC, datetime

import numpy as np
import uvicorn
from fastapi import FastAPI, UploadFile

from benchmarks.peers.network import answer, load_network, open_image, probabilities, to_tensor

app = FastAPI()
network = load_network()


@app.get("/health")
def health() -> dict[str, bool]:
    return {"ok": True}


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, int | str]:
    image = open_image(await file.read())
    row = probabilities(network, to_tensor(image)[None])[0]
    grey = np.asarray(image.convert("L"))
    statistics = [grey.mean(), grey.std(), grey.min(), grey.max()]
    said = answer(row)
    with open(os.environ["DRIFT_CURRENT_PATH"], "a", newline="", encoding="utf-8") as target:
        csv.writer(target).writerow(
            [
                datetime.now(UTC).isoformat(),
                *statistics,
                *np.percentile(grey, [1, 50, 99]),
                *grey.shape,
                *said.values(),
                row.max(),
            ]
        )
    return said


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]))
