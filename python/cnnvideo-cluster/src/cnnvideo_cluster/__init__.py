# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the chunks of a cnnvideo plan on the workers of a Dask cluster."""
