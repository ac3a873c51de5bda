"""The paper's released models and caches, in and out: official code 1.1.0, and 1.0.0."""
