"""The text problem: rows, labels, tokens, batches, encoder, model, metrics and floors."""
