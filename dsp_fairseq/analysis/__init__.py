"""What can be said of a checkpoint's heads without training it."""
