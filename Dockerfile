# vsr in a container; /videos is its working directory. docker-compose.yml has the web application.
#     docker build --target cpu -t vsr .          (OpenVINO)
#     docker build --target cuda -t vsr:cuda .    (NVIDIA; the host needs its container toolkit)
#     docker run --rm -v "$PWD:/videos" vsr upscale in.mp4 out.mp4
# On Linux, `--user "$(id -u):$(id -g)"` makes you the owner of the results.
FROM python:3.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/vsr
ENV PATH=/opt/vsr/bin:$PATH
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY weights weights

FROM build AS build-cpu
# hadolint ignore=DL3013  # the project itself; pyproject.toml says which versions it takes
RUN pip install '.[openvino,web]'

FROM build AS build-cuda
# hadolint ignore=DL3013
RUN pip install '.[cuda,web]'

FROM python:3.12-slim-bookworm AS base
# Any user may run it (--user): caches are in a folder that everybody may write.
ENV PATH=/opt/vsr/bin:$PATH VSR_CACHE=/var/cache/vsr PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 vsr && mkdir -m 1777 /var/cache/vsr
WORKDIR /videos
USER 1000:1000
ENTRYPOINT ["vsr"]
CMD ["--help"]

FROM base AS cuda
# "video" is for NVIDIA's encoders.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
COPY --from=build-cuda /opt/vsr /opt/vsr

FROM base AS cpu
COPY --from=build-cpu /opt/vsr /opt/vsr
