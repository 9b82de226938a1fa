"""What runs pods: images, processes, probes, network."""
