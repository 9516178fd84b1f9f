#!/usr/bin/env bash
# Django 6.1.3: a content type whose row was made in a transaction that was rolled back.
#
# Expected: after the rollback, ContentType.objects.get_for_model() makes the row anew.
# Seen: it answers from its cache, which the rollback does not reach: a content type that has a primary
# key and no row, for as long as the process lives. Whatever refers to it is an IntegrityError, at a
# place that has nothing to do with the transaction that failed.
# We: notify(target=…) refers to content types. Only a site whose `migrate` has not made their rows can
# meet it, so that nothing here works around it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(for each in python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[23]*/bin/python; do
  "$each" -c 'print()' >/dev/null 2>&1 && { command -v "$each"; break; }
done)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check django==6.1.3 ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/seen.py" <<'PY'
from django.conf import settings

database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
apps = ["django.contrib.contenttypes", "django.contrib.auth"]
settings.configure(INSTALLED_APPS=apps, DATABASES={"default": database})
import django

django.setup()
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import IntegrityError, transaction

call_command("migrate", verbosity=0)


def attempt(name):
    """Refers to the content type, as a generic foreign key does."""
    found = ContentType.objects.get_for_model(Group)
    try:
        with transaction.atomic():
            Permission.objects.create(content_type=found, codename=name, name=name)
    except IntegrityError:
        return "IntegrityError"
    return "created"


def begin_without_rows():
    ContentType.objects.all().delete()
    ContentType.objects.clear_cache()


begin_without_rows()
print("alone:", attempt("alone"))
begin_without_rows()
try:
    with transaction.atomic():
        ContentType.objects.get_for_model(Group)
        raise LookupError
except LookupError:
    pass
print("after a rollback:", attempt("after"))
print("and again:", attempt("again"))
ContentType.objects.clear_cache()
print("without the cache:", attempt("without"))
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "$seen"
[ "$seen" = 'alone: created
after a rollback: IntegrityError
and again: IntegrityError
without the cache: created' ] || { echo 'It has changed.'; exit 1; }
