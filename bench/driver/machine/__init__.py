"""What a mesh of one machine costs: real workloads and policies under `weft up`."""
