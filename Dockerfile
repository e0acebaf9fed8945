# A server of OpenAI's protocol over a calibrated pool. Build: docker build -t avengers .
# Run: docker run -p 8000:8000 -v ./router:/srv/router:ro -v ./pool.yaml:/srv/pool.yaml:ro \
#        -e AVENGERS_SERVE_KEY -e QWEN_KEY avengers
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE
WORKDIR /srv
COPY pyproject.toml README.md LICENSE /build/
COPY langchain_avengers /build/langchain_avengers
# torch comes as its own step, so that a change of the package does not fetch it again.
RUN pip install --no-cache-dir torch && pip install --no-cache-dir '/build[local,agents,serve]' && rm -r /build
RUN useradd --create-home avengers && mkdir /srv/state && chown avengers /srv/state
USER avengers

EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-c", \
  "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["avengers", "serve"]
CMD ["/srv/router", "--pool", "/srv/pool.yaml", "--host", "0.0.0.0", "--store", "/srv/state/store.sqlite"]
