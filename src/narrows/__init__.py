"""Train classifiers through an information bottleneck and find out what it is worth."""
