"""Methods in anyone's training loop: one object turns K losses of any torch module into one ordinary loss."""
