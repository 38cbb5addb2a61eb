"""The public operations: check, allocate, call a kernel, return. Motion in `motion`, optical flow in `flow`."""
