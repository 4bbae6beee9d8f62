"""How a model is made: the only part of the project that imports torch, transformers and datasets."""
