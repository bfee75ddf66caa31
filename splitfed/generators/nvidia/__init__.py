"""NVIDIA's published StyleGAN2-ADA and StyleGAN3 networks: read without running them, and rebuilt in plain PyTorch."""
