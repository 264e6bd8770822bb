"""Multi-task learning on texts: rows, labels, tokens, batches, encoder, model, metrics and floors."""
