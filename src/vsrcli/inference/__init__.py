"""Inference: frames through a network, on Keras, OpenVINO or ONNX Runtime."""

import os

# Before a library starts CUDA, which by default numbers the fastest GPU first: one number means the same GPU
# to every library and to nvidia-smi.
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
