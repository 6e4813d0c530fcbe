"""Inference: frames through a network, on Keras or OpenVINO."""
