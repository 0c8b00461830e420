# OpenVINO Model Server with models in it. Built in the folder that `hamsa-export --to openvino-model-server -o models`
# wrote:
#
#     docker build -f examples/server/model_server.Dockerfile -t hamsa-model-server models
#     docker run --rm -p 8000:8000 -p 9000:9000 hamsa-model-server
#
# Its OpenVINO must not be older than the one that wrote the files: `hamsa-doctor` names that.
ARG BASE=openvino/model_server:2025.4
FROM ${BASE}

COPY --chmod=755 . /models

# REST, gRPC.
EXPOSE 8000 9000
# The image's own user, ovms; its entry point is the server.
USER 5000
CMD ["--config_path", "/models/config.json", "--rest_port", "8000", "--port", "9000"]
