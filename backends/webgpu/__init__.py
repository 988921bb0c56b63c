"""The backend for WebGPU: browsers, and every GPU that Vulkan, Metal or Direct3D 12 drives."""
