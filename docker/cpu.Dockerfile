# Exported files on the CPU, with ONNX Runtime and without PyTorch.
#   docker build -f docker/cpu.Dockerfile -t centernet2:cpu .
#   docker run --rm -v "$PWD:/work" centernet2:cpu predict --weights model.onnx photos/
#   docker run --rm -v "$PWD:/work" -p 8080:8080 centernet2:cpu serve --weights model.onnx --host 0.0.0.0
FROM python:3.12-slim

WORKDIR /src
COPY docker/requirements.txt docker/
RUN pip install --no-cache-dir -r docker/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
RUN pip install --no-cache-dir --no-deps . && rm -r /src/*

RUN useradd --create-home --uid 1000 user
USER 1000
WORKDIR /work
ENTRYPOINT ["centernet2"]
CMD ["--help"]
