"""Commands of older servers: LAST, and XTND with XMIT and XLST."""

from __future__ import annotations

from popframe_xtnd.plugin import Xtnd
from popframe_xtnd.settings import Settings

__all__ = ["Settings", "Xtnd"]
