"""The apps service: Voilà with the hub's login, limits, and no address but those that visitors need."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import FileFindHandler
from jupyterlab_server.themes_handler import ThemesHandler
from tornado.web import Application
from traitlets import Instance
from traitlets.config import Config
from voila.app import Voila
from voila.static_file_handler import MultiStaticFileHandler
from voila.utils import get_voila_labextensions_path

from geoloom_hub.apps.kernels import AppKernels
from geoloom_hub.apps.launcher import OF_LAB
from geoloom_hub.apps.pages import (
    AppPage,
    Channel,
    Ending,
    Health,
    IndexPage,
    KernelState,
    Nothing,
    TemplateAsset,
)
from geoloom_hub.apps.settings import Settings
from geoloom_hub.apps.visitors import visitors
from geoloom_hub.listening import listen

__all__ = ["SHARE", "TEMPLATE", "AppServer", "run"]

SHARE = Path(__file__).with_name("data") / "jupyter"
"""A folder for ``JUPYTER_PATH``, with the template of apps."""

TEMPLATE = "geoloom"

MESSAGES = ["comm_open", "comm_close", "comm_msg", "comm_info_request", "kernel_info_request"]
"""All that a page may say to its kernel: widgets' values and events. None of these carries code."""

KERNEL_ID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"

STOP_SECONDS = 10

MAX_MESSAGE = 1 << 20
"""Bytes of a message from a page to its kernel: values of widgets."""


class AppServer(Voila):
    """Voilà as a service: `handlers` has all that can be asked for."""

    told = Instance(Settings)

    def configure(self) -> None:
        """Read nothing but the settings: no command line, no configuration file of the machine."""
        told = self.told
        os.environ["JUPYTER_PATH"] = os.pathsep.join(
            filter(None, [str(SHARE), os.environ.get("JUPYTER_PATH")])
        )
        self.config_file_paths: list[str] = []
        self.update_config(
            Config(
                {
                    "VoilaConfiguration": {
                        "template": TEMPLATE,
                        "allow_template_override": "NO",
                        "allow_theme_override": "NO",
                        "extension_denylist": OF_LAB,
                        "multi_kernel_manager_class": AppKernels,
                    },
                    "VoilaExecutor": {"cell_error_instruction": "The log of the apps service says more."},
                    "AppKernels": {
                        "limit": told.kernels,
                        "limit_each": told.kernels_each,
                        "idle": told.idle,
                        "life": told.life,
                        "left": told.left,
                        "token_name": told.token_name,
                    },
                    # A kernel started again would be an empty one; and nobody else on the machine may listen.
                    "KernelManager": {"autorestart": False, "transport": "ipc"},
                }
            )
        )
        self.root_dir = str(told.folder)
        self.base_url = self.server_url = told.prefix
        self.auto_token = True
        self.open_browser = False
        self.initialize([])

    def init_settings(self) -> dict[str, Any]:
        """Voilà's settings, with our visitors and messages."""
        found: dict[str, Any] = super().init_settings()
        self.kernel_manager.allowed_message_types = MESSAGES
        self.identity_provider = visitors(self.told.guests, self.base_url, parent=self, log=self.log)
        self.authorizer = self.authorizer_class(
            parent=self, log=self.log, identity_provider=self.identity_provider
        )
        return {
            **found,
            "apps": self.told,
            "authorizer": self.authorizer,
            "identity_provider": self.identity_provider,
            "server_root_dir": self.root_dir,
            "default_handler_class": Nothing,
            "websocket_max_message_size": MAX_MESSAGE,
            "xsrf_cookie_kwargs": {"path": self.base_url, "samesite": "Lax"},
        }

    def init_handlers(self) -> list[Any]:
        """All addresses there are; Voilà's own table holds more than visitors need."""
        configuration = {"voila_configuration": self.voila_configuration}
        app = {**configuration, "config": self.config, "template_paths": self.template_paths}
        assets = {"path": self.labextensions_path, "no_cache_paths": ["/"]}
        themes = {
            "themes_url": "/voila/api/themes",
            "path": self.themes_dir,
            "labextensions_path": get_voila_labextensions_path(),
            "no_cache_paths": ["/"],
        }
        table: list[tuple[Any, ...]] = [
            ("", IndexPage),
            ("health", Health),
            (r"voila/render/([^/]+)\.ipynb", AppPage, app),
            (rf"api/kernels/{KERNEL_ID}/channels", Channel),
            (rf"api/kernels/{KERNEL_ID}", KernelState),
            (rf"voila/api/shutdown/{KERNEL_ID}", Ending),
            ("voila/templates/(.*)", TemplateAsset),
            ("voila/static/(.*)", MultiStaticFileHandler, {"paths": self.static_paths}),
            ("voila/api/themes/(.*)", ThemesHandler, themes),
            ("voila/labextensions/(.*)", FileFindHandler, assets),
            *self.identity_provider.handlers(),
        ]
        return [(self.base_url + path, *rest) for path, *rest in table]

    async def serve(self) -> None:
        """Serve until a signal says stop; then no kernel is left."""
        stop = asyncio.Event()
        for one in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(one, stop.set)
        with tempfile.TemporaryDirectory(prefix="geoloom-apps-") as self.connection_dir:
            self.app = Application(**self.init_settings())
            self.app.add_handlers(".*", self.init_handlers())
            server = listen(self.app, self.told.port, self.told.host)
            self.log.info(
                "apps of %s at http://%s:%d%s", self.root_dir, self.told.host, self.told.port, self.base_url
            )
            await stop.wait()
            server.stop()
            try:
                await asyncio.wait_for(self.kernel_manager.end_all(), STOP_SECONDS)
            except TimeoutError:
                self.log.warning("some kernels did not end; they do when they miss this process")


def run(told: Settings) -> None:
    """Serve apps until told to stop.

    Raises
    ------
    ValueError
        The hub's variables are not all there, and guests are not let in.
    OSError
        The port is taken.
    """
    server = AppServer(told=told)
    server.configure()
    asyncio.run(server.serve())
