"""What a run starts from or learns from: models, adapters, word vectors, teachers."""
