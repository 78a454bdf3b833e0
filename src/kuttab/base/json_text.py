"""JSON at the speed of the wire: bytes to values and back, by the reader and writer that pydantic brings.

For the paths that carry every object of every request. It reads RFC 8259 and nothing beside it, and writes compact UTF-8. It does not
notice a key that stands twice in an object: what people wrote by hand is read by :mod:`kuttab.admission.yaml` and
:mod:`kuttab.apiserver.bodies`.
"""

from __future__ import annotations

from typing import Any

import pydantic_core

MAX_DEPTH = 200
"""How deep lists and maps may be nested in what is read; an empty one counts for nothing."""


class DeepError(ValueError):
    """A text is nested deeper than MAX_DEPTH."""


def loads(raw: bytes) -> Any:
    """The value of a JSON text in UTF-8. Of a key that stands twice the last counts; a fraction beyond a double is an infinity.

    Raises ValueError, with line and column, for everything else that is not JSON: NaN and Infinity, halves of surrogate pairs, control
    characters, text after the value; DeepError, which is one, for what is nested too deep.
    """
    try:
        return pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        if str(error).startswith("recursion limit"):
            raise DeepError(f"it is nested deeper than {MAX_DEPTH} levels") from None
        raise


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8; what is not a finite number becomes null, as JSON has no word for it.

    Raises ValueError for what has no JSON form, and for halves of surrogate pairs.
    """
    return pydantic_core.to_json(value, inf_nan_mode="null")
