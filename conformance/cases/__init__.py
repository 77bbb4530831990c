"""What is tried: values, layouts, samples and the checks made of them, each with an exact id."""
