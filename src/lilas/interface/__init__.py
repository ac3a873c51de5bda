"""What `import lilas` gives: models that are called, and the results of a study."""
