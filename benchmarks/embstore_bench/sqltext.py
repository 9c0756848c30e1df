"""The text of this package's `.sql` files."""

from __future__ import annotations

import re
from importlib.resources import files

INCLUDE = re.compile(r"\{(\w+)\}")


def sql_text(name: str, **tables: str) -> str:
    """Return the text of `sql/<name>.sql`; `{other}` in it is another file's text, or the quoted table name given."""
    text = files("embstore_bench").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return INCLUDE.sub(lambda m: f'"{tables[m[1]]}"' if m[1] in tables else sql_text(m[1]), text)
