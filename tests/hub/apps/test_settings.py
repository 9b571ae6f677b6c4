"""What the apps service is told by its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoloom_hub.apps.settings import BadSetting, Settings


def test_all_settings_have_a_default_but_the_folder(tmp_path: Path) -> None:
    found = Settings.read({"GEOLOOM_APPS_FOLDER": str(tmp_path)})
    assert found == Settings(tmp_path)
    assert not found.guests


def test_the_hub_says_where_the_service_is(tmp_path: Path) -> None:
    found = Settings.read(
        {
            "GEOLOOM_APPS_FOLDER": str(tmp_path),
            "JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8900",
            "JUPYTERHUB_SERVICE_PREFIX": "/hubs/one/services/apps",
            "GEOLOOM_APPS_GUESTS": "1",
            "GEOLOOM_APPS_KERNELS": "7",
            "GEOLOOM_APPS_KERNELS_EACH": "2",
            "GEOLOOM_APPS_IDLE": "60",
            "GEOLOOM_APPS_LIFE": "600",
            "GEOLOOM_APPS_LEFT": "6",
            "GEOLOOM_APPS_START": "30",
            "GEOLOOM_TOKEN_FROM": "OTHER",
        }
    )
    assert found == Settings(
        tmp_path, "0.0.0.0", 8900, "/hubs/one/services/apps/", True, 7, 2, 60, 600, 6, 30, "OTHER"
    )
    assert (
        Settings.read({"GEOLOOM_APPS_FOLDER": str(tmp_path), "JUPYTERHUB_SERVICE_PREFIX": "/"}).prefix == "/"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GEOLOOM_APPS_FOLDER", "/nowhere/at/all"),
        ("GEOLOOM_APPS_KERNELS", "0"),
        ("GEOLOOM_APPS_KERNELS", "many"),
        ("GEOLOOM_APPS_IDLE", "-5"),
        ("GEOLOOM_APPS_GUESTS", "perhaps"),
        ("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1"),
        ("JUPYTERHUB_SERVICE_URL", "https://127.0.0.1:8900"),
    ],
)
def test_a_wrong_value_is_told_with_its_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        Settings.read({"GEOLOOM_APPS_FOLDER": str(tmp_path), name: value})
