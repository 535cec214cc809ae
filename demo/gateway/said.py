"""The sentences of the gate, and how they are sent."""

from __future__ import annotations

import re

from starlette.responses import JSONResponse, PlainTextResponse, Response

NOT_SERVED = "There is nothing at this address; the page is at / and the API at /gradio_api/info."
OTHER_NAME = (
    "This server does not answer to this name; its operator can add the name to BAVOS_HOSTS."
)
OTHER_ORIGIN = "This request comes from another site; open this server's own page, or use a script."
TOO_OFTEN = "You send requests faster than this server takes them; wait a few seconds."
TOO_MANY = "You have too many requests open at once; wait until some of them have ended."
BUSY = "The server has too many requests open at once; try again in a few seconds."
TOO_SLOW = "The request came too slowly and was given up; send it again over a faster connection."
CUT_OFF = "The request ended before it was complete; send it again."
TOO_MANY_PAGES = (
    "Too many pages are open from your address; close some of them and reload this one."
)
FULL_HOUSE = "Too many visitors are here; reload this page in a few minutes."
TWO_LENGTHS = "The request gives its length in two ways; send Content-Length or chunks, not both."
TOO_MANY_SESSIONS = "Too many MCP sessions are open from your address; end some of them."
TOO_MANY_UPLOADS = "Too many uploads of yours are on their way; wait until one of them has ended."
UNHEARD = "Too many answers wait to be fetched in this session; fetch them first."
NO_JSON = "This request needs a JSON object as its body; see /gradio_api/info."
NO_SUCH_CALL = "There is no such call; see /gradio_api/info."
BAD_CALL = "The values of this call do not fit its parameters; see /gradio_api/info."
NO_FILES = "An upload is a form with one to ten files in its field files; send it again."
SHARE_USED = (
    "The files from your address take their whole share of the disk; try again in a few minutes."
)
FAILED = "Something went wrong on the server and was logged; try again."


_CALLS = re.compile(r"/gradio_api/(queue/(join|data)|call/(v2/)?[^/]+(/[^/]+)?)")


def too_large(limit: int) -> str:
    """Return what is said to a body of more bytes than this."""
    return f"The body of this request is larger than {limit // 1024:,} KiB; send less."


def file_too_large(limit: int) -> str:
    """Return what is said to an upload of more bytes than this."""
    return f"The file is larger than {limit // 2**20:,} MiB, the limit of this server."


class Refusal(Exception):  # an answer, not an error of this program
    """An answer instead of what was asked for: a status and a sentence.

    wait: seconds after which to try again. close: the rest of the request is not read.
    """

    def __init__(self, status: int, sentence: str, *, wait: int = 0, close: bool = False):
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.wait = wait
        self.close = close

    def response(self, path: str) -> Response:
        """Return the answer, as JSON where Gradio's clients expect it."""
        headers = {"Cache-Control": "no-store"}
        if self.wait:
            headers["Retry-After"] = str(self.wait)
        if self.close:
            headers["Connection"] = "close"
        if _CALLS.fullmatch(path):
            return JSONResponse({"detail": self.sentence}, self.status, headers)
        return PlainTextResponse(self.sentence, self.status, headers)
