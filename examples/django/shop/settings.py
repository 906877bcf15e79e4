"""The least that Django needs, and Tenure among the apps."""

SECRET_KEY = "an example: make your own"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["tenure.integrations.django", "shop"]
MIDDLEWARE: list[str] = []
USE_TZ = True

TENURE = {"profile": "example-django"}
