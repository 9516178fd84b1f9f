# check=skip=SecretsUsedInArgOrEnv
# (The check takes the paths of the secrets' files, below, for secrets.)
FROM python:3.13-slim

WORKDIR /app
COPY config/requirements.txt config/
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
    --root-user-action=ignore --require-hashes -r config/requirements.txt
ENV PATH=/opt/venv/bin:$PATH

COPY manage.py ./
COPY config config
COPY demo demo
COPY docs docs
COPY notifications notifications
COPY templates templates
# The settings require a key and a log. These values are neither used nor kept.
RUN SECRET_KEY=build REDIS_URL=redis://build python manage.py collectstatic --noinput -v0 \
    && python -m compileall -q config demo notifications \
    && useradd --system --no-create-home carillon \
    && install -d -m 700 -o carillon data

ENV HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1 \
    SECRET_KEY_FILE=/app/data/secret.key \
    CARILLON_PUBLISH_KEYS_FILE=/app/data/publish.key
USER carillon
VOLUME /app/data
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \
    CMD ["python", "-m", "config.healthcheck"]
ENTRYPOINT ["python", "-m", "config.entrypoint"]
CMD ["python", "manage.py", "carillon", "serve"]
