# NVIDIA Triton Inference Server with models in it. Built in the folder that `hamsa-export --to triton -o models` wrote:
#
#     docker build -f examples/server/triton.Dockerfile -t hamsa-triton models
#     docker run --rm --gpus all -p 8000:8000 -p 8001:8001 hamsa-triton
#
# A version with a plan (model.plan) needs the TensorRT that built it: that of this image, on a GPU of the same kind.
ARG BASE=nvcr.io/nvidia/tritonserver:25.08-py3
FROM ${BASE}

COPY --chmod=755 . /models

# HTTP, gRPC, metrics.
EXPOSE 8000 8001 8002
# The image has this user, triton-server; the server itself needs no root.
USER 1000
# It does not start with a model that it cannot load.
CMD ["tritonserver", "--model-repository=/models", "--exit-on-error=true"]
