"""Tasks, one file each: data, a head's size, a loss, metrics and floors."""
