"""Read data sets, check and split them, and draw batches on the device."""
