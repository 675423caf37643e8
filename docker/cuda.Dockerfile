# Training and inference on NVIDIA GPUs, with PyTorch.
#   docker build -f docker/cuda.Dockerfile -t centernet2:cuda .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" centernet2:cuda train --data data/
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
# the wheels of torch on PyPI for Linux contain CUDA
RUN pip install --no-cache-dir . && rm -r /src/*

RUN useradd --create-home --uid 1000 user
USER 1000
WORKDIR /work
ENTRYPOINT ["centernet2"]
CMD ["--help"]
