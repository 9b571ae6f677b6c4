"""What visitors may ask for: the list of apps, an app, its kernel's messages, and the end of it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado.web import HTTPError, RequestHandler, authenticated
from voila.handler import VoilaHandler
from voila.static_file_handler import TemplateStaticFileHandler
from voila.tornado.kernel_websocket_handler import VoilaKernelWebsocketHandler

from geoloom_hub.apps.catalogue import apps_in, find_app
from geoloom_hub.apps.kernels import AppKernels, Full
from geoloom_hub.apps.settings import Settings

__all__ = ["AppPage", "Channel", "Ending", "Health", "IndexPage", "KernelState", "Nothing", "TemplateAsset"]

RETRY_SECONDS = 30

LATE = "This app was not ready in time. Try again; if it stays so, tell those who run the apps."

TEMPLATE = re.compile(r"[A-Za-z0-9_-]+")


class Page(JupyterHandler):
    """A page of the apps service; what goes wrong is told in a page of the same look."""

    @property
    def apps(self) -> Settings:
        """The service's settings."""
        return self.settings["apps"]  # type: ignore[no-any-return]

    @property
    def kernels(self) -> AppKernels:
        """The open apps."""
        return self.settings["kernel_manager"]  # type: ignore[no-any-return]

    @property
    def visitor(self) -> str:
        """Who asks."""
        return str(self.current_user.username)

    def show(self, name: str, **values: Any) -> None:
        """Answer with a page."""
        template = self.settings["voila_jinja2_env"].get_template(name)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(template.render(base_url=self.base_url, **values))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say in words what went wrong, and where to go."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, Full):
            self.set_status(503)
            self.set_header("Retry-After", str(RETRY_SECONDS))
            self.show("full.html", full=error, seconds=RETRY_SECONDS)
            return
        said = error.log_message if isinstance(error, HTTPError) else None
        self.show("wrong.html", status=status_code, said=said or self._reason)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is a fault; that all places are taken is none."""
        if isinstance(value, Full):
            self.log.info("no app was opened: %s", value)
        else:
            super().log_exception(typ, value, tb)


class IndexPage(Page):
    """The apps there are."""

    @authenticated
    async def get(self) -> None:
        """Answer with the list."""
        guest = self.apps.guests
        self.show("apps.html", apps=apps_in(self.apps.folder), visitor="" if guest else self.visitor)


class AppPage(Page, VoilaHandler):
    """An app: its notebook run in a kernel that is this page's own."""

    def get_template(self, name: str) -> Any:
        """A template of the apps' own."""
        return self.settings["voila_jinja2_env"].get_template(name)

    @authenticated
    async def get(self, name: str) -> None:
        """Answer with the app, cell by cell as they are run."""
        app = find_app(self.apps.folder, name)
        if app is None:
            raise HTTPError(404, "There is no such app.")
        # The page sends this cookie's value with its last word; asking for it sets it.
        _ = self.xsrf_token
        started: list[str] = []
        try:
            with self.kernels.arrival(self.visitor, started):
                async with asyncio.timeout(self.apps.start):
                    async for html in self.get_generator(path=app.notebook):
                        # Voilà waits for ever for a page whose kernel has gone.
                        if started and not self.kernels.belongs(started[0], self.visitor):
                            raise TimeoutError
                        self.write(html)
                        await self.flush()
        except TimeoutError:
            for kernel_id in started:
                await self.kernels.end(kernel_id, "its page was not made in time")
            if not self._headers_written:
                raise HTTPError(504, LATE) from None
            self.write(self.get_template("late.html").render(said=LATE))
        finally:
            for kernel_id in started:
                self.kernels.page_made(kernel_id)


class Channel(VoilaKernelWebsocketHandler):
    """The messages between a page and its own kernel."""

    async def pre_get(self) -> None:
        """Let the page to its own kernel only."""
        kernels: AppKernels = self.kernel_manager
        if not kernels.belongs(self.kernel_id, str(self.current_user.username)):
            raise HTTPError(404)
        await super().pre_get()

    def on_message(self, ws_message: Any) -> None:
        """Pass on what is allowed; see `AppServer.init_settings`."""
        self.kernel_manager.touch(self.kernel_id)
        super().on_message(ws_message)


class KernelState(Page):
    """Whether a page's own kernel is still there."""

    def get_login_url(self) -> str:
        """Nowhere: a script that asks is not led to a login."""
        raise HTTPError(403)

    @authenticated
    async def get(self, kernel_id: str) -> None:
        """Answer 200 or 404."""
        if not self.kernels.belongs(kernel_id, self.visitor):
            raise HTTPError(404, "This app has ended.")
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(self.kernels.kernel_model(kernel_id), default=str))


class Ending(Page):
    """The word of a page that is closed."""

    @authenticated
    async def post(self, kernel_id: str) -> None:
        """End the page's own kernel."""
        if not self.kernels.belongs(kernel_id, self.visitor):
            raise HTTPError(404, "This app has ended.")
        await self.kernels.shutdown_kernel(kernel_id)
        self.set_status(204)
        self.finish()


class Nothing(Page):
    """Every other address."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Answer that nothing is there, once it is known who asks."""
        waiting = super().prepare()
        await (await waiting or asyncio.sleep(0))
        if not self._finished:
            raise HTTPError(404, "There is no such page.")


class Health(RequestHandler):
    """Whether the service is alive."""

    def get(self) -> None:
        """Answer with the number of open apps."""
        self.finish({"apps": len(self.settings["kernel_manager"].visits)})


class TemplateAsset(TemplateStaticFileHandler):
    """Scripts and styles of the page; an address that cannot be one of theirs is not found, as others are."""

    def parse_url_path(self, path: str) -> str:
        """The path below a template's folder."""
        template, _, rest = path.partition("/")
        if not TEMPLATE.fullmatch(template) or not rest.startswith("static/") or ".." in rest.split("/"):
            raise HTTPError(404)
        return str(super().parse_url_path(path))
