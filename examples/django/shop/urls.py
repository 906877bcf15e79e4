"""One page."""

from django.http import HttpRequest, JsonResponse
from django.urls import path

from tenure.integrations.django import tenure


def index(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"this process runs the jobs": tenure.owns})


urlpatterns = [path("", index)]
