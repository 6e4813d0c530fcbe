"""Inference: frames through a network, on Keras, OpenVINO or ONNX Runtime."""
