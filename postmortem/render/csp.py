"""The content security policy of a report: nothing may be loaded, only the inlined style sheet and script count."""

import base64
import hashlib


def source_hash(text: str) -> str:
    """The CSP source expression of an inlined element's exact text."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def policy(style: str, script: str) -> str:
    """The policy for a page with one `<style>` and one `<script>`.

    `img-src data:` is for the empty favicon, which keeps a browser from asking a server for one.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {source_hash(style)}",
            f"script-src {source_hash(script)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
