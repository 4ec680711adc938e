"""Events while the model writes: the worker thread and the iterators over it."""
