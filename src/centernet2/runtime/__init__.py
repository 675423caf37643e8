"""Run exported files with numpy and their runtime, without PyTorch."""
