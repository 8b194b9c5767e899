"""Storage in mbox spool files, which are shared with the mail transfer agents of the machine."""

from popframe_store_mbox.plugin import StoreMbox
from popframe_store_mbox.settings import Settings

__all__ = ["Settings", "StoreMbox"]
