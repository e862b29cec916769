#!/bin/sh
# Starts the predictor alone and measures what of the bare engine and of a bare gRPC echo it reaches,
# driven by 1, 4 and 8 client processes with grey rows. Options go to benchmarks/tensors.py, whose
# --help lists them. DEVICE and PRECISION of the environment count for both engines.
#
#     benchmarks/serve_gpu.sh --json served.json
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
folder=$(mktemp -d)
addresses=$($python -c 'from ctscan.predict import free_address; print(free_address(), free_address())')
http=${addresses% *} grpc=${addresses#* }
OMP_WAIT_POLICY=PASSIVE HTTP_ADDRESS=$http GRPC_ADDRESS=$grpc \
    $python -m predictor > "$folder/predictor.log" 2>&1 &
predictor=$!
trap 'kill $predictor; wait $predictor || true; rm -r "$folder"' EXIT
until $python -c "import urllib.request as r; r.urlopen('http://$http/readyz')" 2>/dev/null; do
    kill -0 $predictor || { cat "$folder/predictor.log" >&2; exit 1; }
    sleep 0.5
done
$python -m benchmarks.tensors "$grpc" "$@"
