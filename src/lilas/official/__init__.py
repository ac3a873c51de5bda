"""What concerns the files of the paper's official code (release 1.1.0)."""
