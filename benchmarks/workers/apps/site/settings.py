from __future__ import annotations

import os

SECRET_KEY = "none"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "urls"
WSGI_APPLICATION = "wsgi.application"
USE_TZ = True
STATIC_URL = "static/"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["shop.apps.ShopConfig"]
if os.environ.get("BEAT_WITH") == "tenure":
    INSTALLED_APPS.append("tenure.integrations.django")
    TENURE = {"profile": "beat", "home": os.environ["BEAT_HOME"]}
